package http2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// tap records what a client's connection sends and receives, in order.
type tap struct {
	net.Conn
	mu   *sync.Mutex
	into *[]segment
}

func (c *tap) note(d flow.Direction, b []byte) {
	c.mu.Lock()
	*c.into = append(*c.into, segment{d: d, bytes: bytes.Clone(b), acked: -1})
	c.mu.Unlock()
}

func (c *tap) Write(b []byte) (int, error) {
	c.note(fromClient, b)
	return c.Conn.Write(b)
}

func (c *tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.note(fromServer, b[:n])
	}
	return n, err
}

// TestAgreesWithNetHTTP records a conversation of net/http's client and server
// and tells it as they do.
func TestAgreesWithNetHTTP(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Path", r.URL.Path)
		w.WriteHeader(201)
		for range 3 { // larger than a frame, and than a window
			_, _ = w.Write(bytes.Repeat(append([]byte(r.URL.Path), body...), 3000))
		}
		w.Header().Set("X-Sum", "done"+r.URL.Path)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(handler), Protocols: &protocols}
	served := make(chan struct{})
	go func() { _ = server.Serve(listener); close(served) }() // ends with Close
	defer func() { _ = server.Close(); <-served }()

	var mu sync.Mutex
	var segments []segment
	transport := &http.Transport{Protocols: &protocols, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &tap{conn, &mu, &segments}, err
	}}
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	var want []string
	for i := range 20 {
		path := fmt.Sprintf("/path/%d", i%7)
		body := strings.Repeat("b", i*100)
		request, err := http.NewRequest("PUT", "http://"+listener.Addr().String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Number", fmt.Sprint(i))
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, response.Body)
		if err != nil || response.StatusCode != 201 || response.Trailer.Get("X-Sum") != "done"+path {
			t.Fatalf("%d, %v, %v", response.StatusCode, response.Trailer, err)
		}
		_ = response.Body.Close()
		want = append(want, fmt.Sprintf("PUT %s %d %d → 201 %s %d done%s complete", path, i, len(body), path, n, path))
	}
	transport.CloseIdleConnections()

	mu.Lock()
	defer mu.Unlock()
	h := play(t, segments)
	var got []string
	for _, x := range h.close(reassembly.CloseFIN) {
		line := fmt.Sprintf("%s %s %s %d → %d %s %d %s", x.Request.Method, x.Request.Target, field(x.Request.Headers, "x-number"), x.Request.Body.Size,
			x.Response.Status, field(x.Response.Headers, "x-path"), x.Response.Body.Size, field(x.Response.Trailers, "x-sum"))
		if x.Complete && len(x.Flaws) == 0 {
			line += " complete"
		}
		got = append(got, line)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func field(fields []*capstanv1.Header, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
