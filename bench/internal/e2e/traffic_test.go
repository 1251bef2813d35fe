package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan/pkg/netns"
)

// planted is in all traffic wherever credentials are.
const planted = "planted-secret"

// checkNoCredential checks that text, which left an interceptor, has no
// credential in it.
func checkNoCredential(t *testing.T, where string, text []byte) {
	t.Helper()
	if i := bytes.Index(text, []byte(planted)); i >= 0 {
		t.Errorf("%s: a credential: …%s", where, text[max(i-200, 0):i+len(planted)])
	}
}

// truth is one exchange as client and server logged it themselves.
type truth struct {
	method, target  string
	status          int
	requestBody     int64 // as the client sent it
	responseBody    int64 // as the client read it
	serverSawMethod string
	serverSawBody   int64
}

// traffic is a server and its client, each with a log of its own.
type traffic struct {
	connections, requests int
	pause                 time.Duration // between two requests of a connection
	resume                chan struct{} // if not nil, the last third of the requests waits until it is closed

	mu  sync.Mutex // guards log
	log map[int]*truth
}

// bodySize draws a size: often none, mostly small, now and then up to 1 MiB.
func bodySize(r *rand.Rand) int64 {
	switch n := r.IntN(1000); {
	case n < 350:
		return 0
	case n < 900:
		return r.Int64N(2 << 10)
	case n < 990:
		return r.Int64N(32 << 10)
	case n < 999:
		return r.Int64N(256 << 10)
	default:
		return 1 << 20
	}
}

// ServeHTTP answers with the status, size and framing that the target asks for.
func (tr *traffic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n, _ := io.Copy(io.Discard, r.Body)
	tr.mu.Lock()
	tr.log[id].serverSawMethod, tr.log[id].serverSawBody = r.Method, n
	tr.mu.Unlock()

	q := r.URL.Query()
	status, _ := strconv.Atoi(q.Get("status"))
	size, _ := strconv.ParseInt(q.Get("size"), 10, 64)
	w.Header().Set("X-Id", strconv.Itoa(id))
	w.Header().Set("Set-Cookie", planted)
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	if q.Get("chunked") == "" {
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if q.Get("chunked") != "" {
		_ = http.NewResponseController(w).Flush()
	}
	_, _ = io.CopyN(w, pattern{}, size)
}

// pattern is an endless body.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a' + byte(i%26)
	}
	return len(p), nil
}

// run serves at address in the server's namespace and makes the requests from
// the client's, which may be the same.
func (tr *traffic) run(t *testing.T, server, client *netns.NS, address string) {
	t.Helper()
	listener, err := server.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/item/{id}", tr)
	service := &http.Server{Handler: mux}
	var serving sync.WaitGroup
	serving.Go(func() { _ = service.Serve(listener) })
	defer serving.Wait()
	defer service.Close()

	tr.mu.Lock()
	tr.log = make(map[int]*truth)
	tr.mu.Unlock()
	var clients sync.WaitGroup
	for c := range tr.connections {
		clients.Go(func() {
			if err := tr.client(client, address, c); err != nil {
				t.Errorf("connection %d: %v", c, err)
			}
		})
	}
	clients.Wait()
}

// begun is how many requests have been made so far.
func (tr *traffic) begun() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.log)
}

// client makes its share of the requests over one keep-alive connection.
func (tr *traffic) client(from *netns.NS, address string, c int) error {
	dials := 0
	transport := &http.Transport{MaxConnsPerHost: 1, DisableCompression: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return from.DialContext(ctx, network, addr)
		}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r := rand.New(rand.NewPCG(uint64(c), 7))
	for i := c; i < tr.requests; i += tr.connections {
		if tr.resume != nil && i >= tr.requests*2/3 {
			<-tr.resume
		}
		if err := tr.request(client, r, address, i); err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		time.Sleep(tr.pause)
	}
	// On a busy machine net/http gives a connection up whose request it can't
	// call written within 50 ms of the response (maxWriteWaitBeforeConnReuse).
	if dials > 5 {
		return fmt.Errorf("needed %d connections, so keep-alive was not what was tested", dials)
	}
	return nil
}

func (tr *traffic) request(client *http.Client, r *rand.Rand, address string, id int) error {
	methods := []string{"GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD"}
	statuses := []int{200, 200, 200, 201, 204, 404, 500}
	x := &truth{method: methods[r.IntN(len(methods))], status: statuses[r.IntN(len(statuses))]}
	chunked := ""
	if r.IntN(2) == 0 {
		chunked = "yes"
	}
	x.target = fmt.Sprintf("/item/%d?status=%d&size=%d&chunked=%s", id, x.status, bodySize(r), chunked)
	var body io.Reader
	if x.method == "POST" || x.method == "PUT" {
		x.requestBody = bodySize(r)
		body = io.LimitReader(pattern{}, x.requestBody) // of unknown length: chunked
		if r.IntN(2) == 0 {
			body = strings.NewReader(strings.Repeat("x", int(x.requestBody)))
		}
	}
	tr.mu.Lock()
	tr.log[id] = x
	tr.mu.Unlock()
	req, err := http.NewRequest(x.method, "http://"+address+x.target, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+planted)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		return err
	}
	tr.mu.Lock()
	x.responseBody = n
	tr.mu.Unlock()
	if resp.StatusCode != x.status {
		return fmt.Errorf("status %d, want %d", resp.StatusCode, x.status)
	}
	return nil
}

// compare holds the records against the logs: every exchange once, everything
// right, nothing else.
func (tr *traffic) compare(t *testing.T, records []record) {
	t.Helper()
	seen := make(map[int]bool)
	wrong := 0
	fail := func(format string, args ...any) {
		t.Helper()
		if wrong++; wrong <= 10 {
			t.Errorf(format, args...)
		}
	}
	for i := range records {
		r := &records[i]
		id, ok := recordID(r)
		if !ok {
			fail("a record of something else: %+v", r)
			continue
		}
		if seen[id] {
			fail("exchange %d is told twice", id)
			continue
		}
		seen[id] = true
		if msg := tr.log[id].differs(r); msg != "" {
			fail("exchange %d: %s\nlog:    %+v\nrecord: %+v", id, msg, tr.log[id], r)
		}
	}
	if len(seen) != len(tr.log) || len(tr.log) != tr.requests {
		t.Errorf("%d exchanges told, %d logged, %d asked for", len(seen), len(tr.log), tr.requests)
	}
	if wrong > 10 {
		t.Errorf("and %d more", wrong-10)
	}
}

// recordID returns the number in a record's request target.
func recordID(r *record) (int, bool) {
	if r.Request == nil {
		return 0, false
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(r.Request.Target, "/item/"), "?")
	id, err := strconv.Atoi(path)
	return id, err == nil
}

// differs names what a record says other than the logs, "" if nothing.
func (x *truth) differs(r *record) string {
	switch {
	case x == nil:
		return "never asked for"
	case r.Protocol != "HTTP1":
		return "protocol " + r.Protocol
	case !r.Complete || len(r.Flaws) != 0:
		return fmt.Sprint("not complete: ", r.Flaws)
	case r.Response == nil:
		return "no response"
	case r.Request.Method != x.method || r.Request.Method != x.serverSawMethod:
		return "method"
	case r.Request.Target != x.target:
		return "target"
	case r.Response.Status != x.status:
		return "status"
	case r.Request.BodySize != x.requestBody || r.Request.BodySize != x.serverSawBody:
		return "request body size"
	case r.Response.BodySize != x.responseBody:
		return "response body size"
	case find(r.Response.Headers, "X-Id") != strconv.Itoa(mustID(r)):
		return "response of another request"
	case r.StartTime.IsZero() || r.DurationNs <= 0:
		return "no time"
	}
	return ""
}

func mustID(r *record) int { id, _ := recordID(r); return id }
