package bench

import "context"

func (b *bench) sale(context.Context) ([]Figure, error)   { return nil, nil }
func (b *bench) sqlite(context.Context) ([]Figure, error) { return nil, nil }
func (b *bench) idle(context.Context) ([]Figure, error)   { return nil, nil }
