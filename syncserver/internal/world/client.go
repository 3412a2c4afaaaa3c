package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"
)

// Client speaks the JSON API of one of the programs.
type Client struct {
	// URL is the program's address, without /api/v1.
	URL string
	// Token is sent as a bearer token where it is set.
	Token string
	// Header is sent besides.
	Header http.Header

	http http.Client
}

// NewClient returns a client of the program at url.
func NewClient(url, token string) *Client {
	return &Client{URL: url, Token: token, http: http.Client{Timeout: time.Minute}}
}

// Refusal is an answer that is not a success.
type Refusal struct { //nolint:errname // a refusal is what the program answered
	Status  int
	Code    string
	Message string
	Body    string
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Message)
}

// Get reads path (below /api/v1) into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.Do(ctx, http.MethodGet, path, nil, out)
}

// Post sends in as JSON to path and reads the answer into out; both may be nil.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	return c.Do(ctx, http.MethodPost, path, in, out)
}

// Do makes a request. in may be nil, a []byte that is sent as text/csv, or a
// value that is sent as JSON; out may be nil, a *[]byte for the raw answer, or
// a pointer that JSON is read into. Answers of 400 and above are a [*Refusal].
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	contentType := "application/json"
	switch in := in.(type) {
	case nil:
	case []byte:
		body, contentType = bytes.NewReader(in), "text/csv"
	default:
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+"/api/v1"+path, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	maps.Copy(req.Header, c.Header)
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		refusal := &Refusal{Status: res.StatusCode, Body: string(data)}
		if json.Unmarshal(data, refusal) != nil {
			refusal.Message = string(data)
		}
		refusal.Status = res.StatusCode
		return fmt.Errorf("%s %s: %w", method, path, refusal)
	}
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = data
	default:
		if err := json.Unmarshal(data, out); err != nil {
			return fmt.Errorf("%s %s: %w in %.200s", method, path, err, data)
		}
	}
	return nil
}

// Eventually calls f until it returns nil, with a short pause between, and
// returns its last error when the time is up.
func Eventually(ctx context.Context, limit time.Duration, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not so after %s: %w", limit, err)
		case <-ticker.C:
		}
	}
}
