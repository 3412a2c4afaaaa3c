package wire

import "tillandsia/shared/entry"

// EnrolRequest is how a register is enrolled: POST /api/v1/enrol.
type EnrolRequest struct {
	Code     string `json:"code" maxLength:"32" doc:"The pairing code, as typed"`
	Nonce    string `json:"nonce" minLength:"16" maxLength:"64" doc:"Random name of this instance of the journal"`
	Software string `json:"software,omitempty" maxLength:"100"`
}

// EnrolAnswer is what a register learns when it is enrolled; it is told once.
type EnrolAnswer struct {
	Token        string      `json:"token" doc:"Bearer token of the register; the server keeps only its hash"`
	PointOfSale  string      `json:"point_of_sale"`
	RegisterID   string      `json:"register_id"`
	RegisterCode string      `json:"register_code"`
	ServerKey    string      `json:"server_key" doc:"Ed25519 public key of the server, base64: pinned"`
	Incarnation  string      `json:"incarnation"`
	Epoch        uint64      `json:"epoch" doc:"The epoch that this journal writes"`
	Base         entry.Point `json:"base" doc:"What it stands on"`
}
