package api

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"capstan/interceptor/internal/watch"
	capstanv1 "capstan/proto/capstan/v1"
)

func exchange(n int, body []byte) *capstanv1.Exchange {
	return &capstanv1.Exchange{Id: fmt.Sprint(n), Request: &capstanv1.HttpRequest{Method: "GET", Body: &capstanv1.Body{Content: body, Size: uint64(len(body))}},
		Response: &capstanv1.HttpResponse{Status: uint32(200 + n%2*300)}}
}

// begin starts to watch, and returns when the server has begun to follow.
func begin(t *testing.T, c capstanv1.InterceptorClient, request *capstanv1.WatchRequest) grpc.ServerStreamingClient[capstanv1.WatchResponse] {
	t.Helper()
	stream, err := c.Watch(testContext(t), request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	return stream
}

// drain reads to the end.
func drain(t *testing.T, stream grpc.ServerStreamingClient[capstanv1.WatchResponse]) (ids []string, skipped, failed uint64, last string) {
	t.Helper()
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return ids, skipped, failed, last
		}
		if err != nil {
			t.Fatal(err)
		}
		skipped += m.GetLagged().GetSkipped()
		failed += m.GetFilterFailure().GetRecords()
		if x := m.GetExchange(); x != nil {
			ids, last = append(ids, x.GetExchange().GetId()), x.GetResumeToken()
		}
	}
}

func TestWatch(t *testing.T) {
	r := newRig(t, watch.Config{}, Roles{})
	c := r.client(t)
	r.push(t, exchange(0, nil))
	live := begin(t, c, &capstanv1.WatchRequest{})
	filtered := begin(t, c, &capstanv1.WatchRequest{Filter: "exchange.response.status >= 500", Backlog: 9})
	noBodies := begin(t, c, &capstanv1.WatchRequest{OmitBodies: true})
	for n := 1; n < 5; n++ {
		r.push(t, exchange(n, []byte("body")))
	}
	m, err := noBodies.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if b := m.GetExchange().GetExchange().GetRequest().GetBody(); len(b.GetContent()) != 0 || b.GetSize() != 4 || !b.GetTruncated() {
		t.Errorf("%v", b)
	}
	resumed := begin(t, c, &capstanv1.WatchRequest{ResumeToken: m.GetExchange().GetResumeToken()})
	r.hub.Close()
	for _, tc := range []struct {
		stream grpc.ServerStreamingClient[capstanv1.WatchResponse]
		want   string
	}{{live, "[1 2 3 4]"}, {filtered, "[1 3]"}, {resumed, "[2 3 4]"}} {
		if ids, skipped, failed, _ := drain(t, tc.stream); fmt.Sprint(ids) != tc.want || skipped != 0 || failed != 0 {
			t.Errorf("%v, %d skipped, %d failed, want %s", ids, skipped, failed, tc.want)
		}
	}
	drain(t, noBodies)
	ends := r.log.events(t, "watch ends")
	if begins := r.log.events(t, "watch begins"); len(begins) != 4 || !strings.HasPrefix(begins[1]["peer"].(string), "pid ") ||
		begins[1]["filter"] != "exchange.response.status >= 500" || begins[3]["resumed"] != true {
		t.Errorf("%v", begins)
	}
	if len(ends) == 0 { // the last line may be written after the client has seen the end
		t.Error("no watch ended")
	}
}

// TestSlowWatcher: it is told what it missed, and nothing waits for it.
func TestSlowWatcher(t *testing.T) {
	r := newRig(t, watch.Config{MaxRecords: 50}, Roles{})
	slow := begin(t, r.client(t), &capstanv1.WatchRequest{})
	const total = 3000
	for n := range total {
		r.push(t, exchange(n, bytes.Repeat([]byte("x"), 4096))) // more than all buffers between take
	}
	r.hub.Close()
	ids, skipped, _, _ := drain(t, slow)
	if uint64(len(ids))+skipped != total || skipped == 0 || ids[len(ids)-1] != fmt.Sprint(total-1) {
		t.Errorf("%d records and %d skipped, want %d together", len(ids), skipped, total)
	}
}

func TestWatchRefusals(t *testing.T) {
	r := newRig(t, watch.Config{MaxWatchers: 1}, Roles{})
	c := r.client(t)
	refused := func(request *capstanv1.WatchRequest, code codes.Code, text string) {
		t.Helper()
		stream, err := c.Watch(testContext(t), request)
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != code || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %v: %s", err, code, text)
		}
	}
	refused(&capstanv1.WatchRequest{Filter: "exchange.colour == 1"}, codes.InvalidArgument, "line 1, column 9")
	refused(&capstanv1.WatchRequest{Filter: strings.Repeat(" true", 1000) + "x"}, codes.InvalidArgument, "longer than")
	refused(&capstanv1.WatchRequest{Filter: strings.Repeat("x", maxRequest)}, codes.ResourceExhausted, "larger than max")
	refused(&capstanv1.WatchRequest{ResumeToken: "0123456789abcdef-0"}, codes.FailedPrecondition, "another run")
	begin(t, c, &capstanv1.WatchRequest{})
	refused(&capstanv1.WatchRequest{}, codes.ResourceExhausted, "too many watchers")
}

// TestLongRecord: what a client wouldn't take comes without its bodies.
func TestLongRecord(t *testing.T) {
	r := newRig(t, watch.Config{}, Roles{})
	r.push(t, exchange(1, make([]byte, maxResponse)))
	m, err := begin(t, r.client(t), &capstanv1.WatchRequest{Backlog: 1}).Recv()
	if b := m.GetExchange().GetExchange().GetRequest().GetBody(); err != nil || b.GetSize() != maxResponse || len(b.GetContent()) != 0 {
		t.Errorf("%v, %v", err, b.GetSize())
	}
	if n := r.hub.Stats().Cut; n != 1 {
		t.Errorf("%d are counted as cut", n)
	}
	if s := r.server.cfg.Clients.Stats(); s.Connected != 1 || s.Full != 0 {
		t.Errorf("connected: %+v", s)
	}
}

func TestFilterFailureIsTold(t *testing.T) {
	r := newRig(t, watch.Config{}, Roles{})
	r.push(t, exchange(1, nil))
	m, err := begin(t, r.client(t), &capstanv1.WatchRequest{Backlog: 1, Filter: "exchange.request.headers[3].name == ''"}).Recv()
	if f := m.GetFilterFailure(); err != nil || f.GetRecords() != 1 || !strings.Contains(f.GetReason(), "index") {
		t.Errorf("%v, %v", m, err)
	}
}

// TestWatchEnds: the place is free, and the audit line is there, once a client has gone.
func TestWatchEnds(t *testing.T) {
	r := newRig(t, watch.Config{MaxWatchers: 1}, Roles{})
	conn := dialRig(t, r)
	begin(t, capstanv1.NewInterceptorClient(conn), &capstanv1.WatchRequest{})
	conn.Close()
	for deadline := time.Now().Add(30 * time.Second); r.hub.Stats().Watchers > 0 || len(r.log.events(t, "watch ends")) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the watch goes on without its watcher")
		}
	}
}
