package ledger_test

import (
	"testing"

	"tillandsia/shared/message"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/ledger"
)

// TestFlagsHaveSentences: every code that an entry may be flagged with is
// explained to whoever reads the list.
func TestFlagsHaveSentences(t *testing.T) {
	for _, code := range append([]string{
		session.FlagOtherContent, session.FlagStampRescue, session.FlagForeignStamp, session.FlagOtherFacts, session.FlagTwoSessions,
	}, ledger.Flags...) {
		if !message.Has("flag." + code) {
			t.Errorf("flag.%s has no sentence", code)
		}
	}
}
