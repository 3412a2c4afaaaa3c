module tillandsia/shared

go 1.26.0

require (
	github.com/danielgtaylor/huma/v2 v2.37.2
	github.com/oklog/ulid/v2 v2.1.1
	golang.org/x/crypto v0.58.0
	pgregory.net/rapid v1.3.0
)

require golang.org/x/sys v0.49.0 // indirect
