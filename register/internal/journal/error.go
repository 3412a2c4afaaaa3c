package journal

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"

	"tillandsia/register/internal/boltfile"
	"tillandsia/shared/message"
)

// Errors that people are told. Test with errors.Is.
var (
	// ErrLocked is returned when another process has the journal open.
	ErrLocked = message.New(message.Conflict, "journal.locked")
	// ErrMissing is returned by Open where no journal was made yet.
	ErrMissing = message.New(message.NotFound, "journal.missing")
	// ErrExists is returned by Create where a journal stands already.
	ErrExists = message.New(message.Conflict, "journal.exists")
	// ErrForeign is returned for a journal of another register.
	ErrForeign = message.New(message.Conflict, "journal.foreign")
	// ErrNotJournal is returned for a file that is no journal at all.
	ErrNotJournal = message.New(message.Internal, "journal.not_a_journal")
	// ErrDamaged is returned for a journal that cannot be read as it was
	// written. The file is left as it is.
	ErrDamaged = message.New(message.Internal, "journal.damaged")
	// ErrNewer is returned for a file of a newer version of the program.
	ErrNewer = message.New(message.Conflict, "journal.newer")
	// ErrDiskFull is returned where the disk has no room left.
	ErrDiskFull = message.New(message.Unavailable, "journal.disk_full")
	// ErrReadOnlyDisk is returned where the folder may not be written to.
	ErrReadOnlyDisk = message.New(message.Unavailable, "journal.read_only")
	// ErrDisk is returned for any other error of the disk.
	ErrDisk = message.New(message.Unavailable, "journal.disk")
	// ErrNotCommitted is returned when a commit failed and the journal, opened
	// again, is known not to hold the change: it was not sold.
	ErrNotCommitted = message.New(message.Unavailable, "journal.not_committed")
	// ErrUnknown is returned when a commit failed and it cannot be told now
	// whether the change is durable: look the operation up later, never try
	// again under another operation id.
	ErrUnknown = message.New(message.Unavailable, "journal.unknown")
	// ErrFailed is returned while the journal cannot be opened again after an
	// error.
	ErrFailed = message.New(message.Unavailable, "journal.failed")
	// ErrBackupExists is returned by Backup, which overwrites nothing.
	ErrBackupExists = message.New(message.Conflict, "journal.backup_exists")
	// ErrCartVersion is returned by SaveCart for a version that is not newer
	// than the stored one.
	ErrCartVersion = message.New(message.Conflict, "journal.cart_version")
)

// Errors of the programs that use the package.
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("journal closed")
	// ErrReadOnly is returned for a change in a View or in a journal opened
	// read-only.
	ErrReadOnly = errors.New("journal is read-only here")
	// ErrDuplicate is returned by Add for an operation id that the journal
	// has already, or a close that it has; see [Tx.Lookup].
	ErrDuplicate = errors.New("operation is in the journal already")
	// ErrNumber is returned for a number that is not the next one, or that was
	// taken and not used in the same transaction.
	ErrNumber = errors.New("number is not the next")
	// ErrNoSession is returned for a session that this journal knows nothing
	// of.
	ErrNoSession = errors.New("session is not in the journal")
	// ErrNotFound is returned for a place that the journal does not hold.
	ErrNotFound = errors.New("not in the journal")
	// ErrPruned is returned for a place below the checkpoint.
	ErrPruned = errors.New("pruned from the journal")
	// ErrOverflow is returned where a sum leaves 64 bits.
	ErrOverflow = errors.New("sum overflows")
	// ErrForked is returned where a point is not on this journal's chain.
	ErrForked = errors.New("point is not on this journal's chain")
	// ErrEpoch is returned by BeginEpoch for a grant that does not fit.
	ErrEpoch = errors.New("epoch does not fit the journal")
)

// diskError gives an error of bbolt or of the file system its sentence.
func diskError(err error, fallback *message.Error) error {
	var told *message.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &told):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return ErrLocked.Wrap(err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), says(err, syscall.ENOSPC):
		return ErrDiskFull.Wrap(err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission), errors.Is(err, berrors.ErrDatabaseReadOnly):
		return ErrReadOnlyDisk.Wrap(err)
	case errors.Is(err, boltfile.ErrForeign):
		return ErrNotJournal.Wrap(err)
	case errors.Is(err, boltfile.ErrDamaged), errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return ErrDamaged.Wrap(err)
	default:
		return fallback.Wrap(err)
	}
}

// says looks for an error of the system by its text: where bbolt grows a file
// or copies one it hands on the text only.
func says(err error, errno syscall.Errno) bool { return strings.Contains(err.Error(), errno.Error()) }
