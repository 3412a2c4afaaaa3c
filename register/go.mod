module tillandsia/register

go 1.26.0

require tillandsia/shared v0.0.0

require (
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/oklog/ulid/v2 v2.1.1 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/sys v0.45.0 // indirect
)

replace tillandsia/shared => ../shared
