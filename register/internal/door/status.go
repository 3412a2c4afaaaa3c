package door

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"tillandsia/register/internal/till"
	"tillandsia/shared/catalogue"
	"tillandsia/shared/entry"
)

type health struct {
	Status  string `json:"status" enum:"ok"`
	Version string `json:"version"`
}

type status struct {
	Version   string        `json:"version"`
	Enrolment Enrolment     `json:"enrolment"`
	Sync      SyncStatus    `json:"sync"`
	Journal   journalStatus `json:"journal"`
	Catalogue uint64        `json:"catalogue" doc:"Revision of the catalogue that is held; 0 before the first"`
	Clock     time.Time     `json:"clock"`
}

type journalStatus struct {
	Head  entry.Point   `json:"head"`
	Acked []entry.Point `json:"acked" doc:"What the server acknowledged, by epoch"`
	Copy  string        `json:"copy,omitempty" doc:"Why it was taken for a copy when it was opened"`
	// Series is the tag of the number series that was begun for it.
	Series string `json:"series,omitempty"`
}

type verification struct {
	OK    bool        `json:"ok"`
	Lines []invariant `json:"lines"`
}

type invariant struct {
	Name     string         `json:"name"`
	OK       bool           `json:"ok"`
	Counts   map[string]int `json:"counts"`
	Findings []string       `json:"findings"`
	Broken   int            `json:"broken"`
}

type backup struct {
	File string `json:"file"`
}

func (d *Door) statusRoutes() {
	open := d.route(anyone, http.MethodGet, "/health", "health", "Whether the register runs")
	add(d, open, func(context.Context, *struct{}) (*body[health], error) {
		return answer(health{Status: "ok", Version: d.Version}, nil)
	})
	add(d, d.route(reader, http.MethodGet, "/status", "status", "Enrolment, connection, journal and catalogue"),
		func(context.Context, *struct{}) (*body[status], error) {
			_, revision := d.Catalogue.View().Revision()
			return answer(status{
				Version: d.Version, Enrolment: d.Enrolment, Sync: d.Sync(), Journal: d.journalStatus(),
				Catalogue: revision, Clock: d.Clock().UTC(),
			}, nil)
		})
	add(d, d.route(reader, http.MethodGet, "/sync", "sync", "How the connection to the server stands"),
		func(context.Context, *struct{}) (*body[SyncStatus], error) { return answer(d.Sync(), nil) })
	add(d, bodyless(d.route(reader, http.MethodPost, "/journal/verify", "verify-journal", "Check the whole journal; for managers and programs")),
		func(ctx context.Context, _ *struct{}) (*body[verification], error) {
			if err := mayKeep(ctx); err != nil {
				return nil, err
			}
			return answer(d.verify(ctx))
		})
	add(d, created(bodyless(d.route(reader, http.MethodPost, "/journal/backup", "backup-journal", "Copy the journal into the backup folder, while it is in use; for managers and programs"))),
		func(ctx context.Context, _ *struct{}) (*body[backup], error) {
			if err := mayKeep(ctx); err != nil {
				return nil, err
			}
			name := fmt.Sprintf("journal-%s.db", d.Clock().UTC().Format("20060102T150405.000000000"))
			file := filepath.Join(d.Backups, name)
			return answer(backup{File: file}, d.Journal.Backup(ctx, file))
		})
}

// mayKeep lets managers and programs look after the journal.
func mayKeep(ctx context.Context) error {
	if by, ok := actor(ctx); ok && !by.Role.AtLeast(catalogue.RoleManager) {
		return till.ErrManager
	}
	return nil
}

func (d *Door) journalStatus() journalStatus {
	opening := d.Journal.Opening()
	s := journalStatus{Head: d.Journal.Head(), Acked: d.Journal.Acked(), Copy: opening.Copy, Series: opening.Series}
	if s.Acked == nil {
		s.Acked = []entry.Point{}
	}
	return s
}

func (d *Door) verify(ctx context.Context) (verification, error) {
	report, err := d.Journal.Verify(ctx, io.Discard)
	v := verification{OK: report.OK(), Lines: []invariant{}}
	for _, l := range report.Lines {
		v.Lines = append(v.Lines, invariant{Name: l.Name, OK: l.OK(), Counts: l.Counts, Findings: l.Findings, Broken: l.Broken})
	}
	return v, err
}
