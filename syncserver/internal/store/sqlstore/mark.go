package sqlstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A SQLite file has a mark beside it, in a file of its own that no backup of
// the database holds: a random word and the number of times that the database
// was opened. Database and mark count together; a database that is behind its
// mark is an older copy put back, and one without a mark is a copy elsewhere.
// In both cases the mark gets a new word. A copy made since the last opening
// is not noticed: the mark is a hint.
const markSuffix = ".mark"

const metaOpened = "opened"

// countOpening counts an opening in the database and returns what the mark is
// to say; it is written after the commit, so that it is never ahead.
func countOpening(ctx context.Context, c conn, path string) (word string, count uint64, err error) {
	word, count, err = readMark(path)
	if err != nil {
		return "", 0, err
	}
	var known uint64
	b, err := tx{c}.Meta(ctx, metaOpened)
	if err == nil {
		known, err = strconv.ParseUint(string(b), 10, 64)
	}
	if err != nil && !isNotFound(err) {
		return "", 0, fmt.Errorf("read how often the file was opened: %w", err)
	}
	if word == "" || known < count {
		word = rand.Text()
	}
	count = max(count, known) + 1
	return word, count, tx{c}.SetMeta(ctx, metaOpened, []byte(strconv.FormatUint(count, 10)))
}

func readMark(path string) (word string, count uint64, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("read mark of the file: %w", err)
	}
	word, number, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	if count, err = strconv.ParseUint(number, 10, 64); err == nil {
		return word, count, nil
	}
	// Half a mark is none.
	return "", 0, nil
}

// writeMark replaces the mark so that half of one cannot stand.
func writeMark(path, word string, count uint64) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return fmt.Errorf("write mark of the file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write mark of the file: %w", err), os.Remove(f.Name()))
		}
	}()
	_, err = fmt.Fprintf(f, "%s %d\n", word, count)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
