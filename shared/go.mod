module tillandsia/shared

go 1.26.0

require github.com/oklog/ulid/v2 v2.1.1

require (
	github.com/danielgtaylor/huma/v2 v2.37.2 // indirect
	golang.org/x/crypto v0.58.0 // indirect
)
