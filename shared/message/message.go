// Package message holds every sentence that a person reads, by key. Code
// names a key and its parameters; the sentence stands in texts/<language>/.
// Nothing else in the programs holds a sentence for people.
package message

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

//go:embed texts
var texts embed.FS

// English is the language that is always there.
const English = "en"

// Class says what kind of answer an error is; the edges map it to a status.
type Class string

// The classes.
const (
	Invalid      Class = "invalid"      // what was sent does not make sense
	Unauthorized Class = "unauthorized" // not signed in
	Forbidden    Class = "forbidden"    // signed in, but not allowed
	NotFound     Class = "not_found"
	Conflict     Class = "conflict" // it does not fit the state of things
	TooMany      Class = "too_many" // slow down
	Unavailable  Class = "unavailable"
	Internal     Class = "internal"
)

// Error is an error that a person is told. Key names the sentence; Params fill
// its placeholders ({name}); Cause is for the log only.
type Error struct {
	Class  Class
	Key    string
	Params map[string]string
	Cause  error
}

// New returns an error of a class with the sentence of key; pairs are names
// and values of its parameters.
func New(class Class, key string, pairs ...string) *Error {
	e := &Error{Class: class, Key: key}
	if len(pairs) > 0 {
		e.Params = make(map[string]string, len(pairs)/2)
		for i := 0; i+1 < len(pairs); i += 2 {
			e.Params[pairs[i]] = pairs[i+1]
		}
	}
	return e
}

// Wrap returns a copy of e with its cause.
func (e *Error) Wrap(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// Error returns the English sentence, with the cause behind it.
func (e *Error) Error() string {
	s := Text(English, e.Key, e.Params)
	if e.Cause != nil {
		return s + ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is an Error with the same key.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Key == e.Key
}

var load = sync.OnceValues(func() (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	files, err := fs.Glob(texts, "texts/*/*.json")
	if err != nil {
		return nil, fmt.Errorf("list texts: %w", err)
	}
	for _, file := range files {
		data, err := texts.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		var entries map[string]string
		if err := json.Unmarshal(data, &entries); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		language := strings.Split(file, "/")[1]
		if all[language] == nil {
			all[language] = map[string]string{}
		}
		for key, text := range entries {
			if _, twice := all[language][key]; twice {
				return nil, fmt.Errorf("read %s: %q stands twice", file, key)
			}
			all[language][key] = text
		}
	}
	return all, nil
})

// Check reports whether the embedded texts are well-formed; programs call it
// when they start.
func Check() error {
	_, err := load()
	return err
}

// Keys returns all keys of a language, sorted.
func Keys(language string) []string {
	all, err := load()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(all[language]))
}

// Has reports whether key has an English sentence.
func Has(key string) bool {
	all, err := load()
	if err != nil {
		return false
	}
	_, ok := all[English][key]
	return ok
}

// Text returns the sentence of key in a language, in English where the
// language lacks it, the key itself where English lacks it too.
func Text(language, key string, params map[string]string) string {
	all, err := load()
	if err != nil {
		return key
	}
	text, ok := all[language][key]
	if !ok {
		if text, ok = all[English][key]; !ok {
			return key
		}
	}
	for name, value := range params {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}
