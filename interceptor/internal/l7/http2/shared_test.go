package http2

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"capstan/interceptor/internal/l7/hpack"
)

// TestWhatIsUsedAgain holds that exchanges, large and small, of gRPC and not, with
// and without a body, are told right out of memory of others; that not much is kept
// of it, and nothing after Release.
func TestWhatIsUsedAgain(t *testing.T) {
	k := newTalk(t, Config{})
	id := uint32(1)
	round := func() {
		for i, fields := range []int{0, 40, 3, 300, 1} {
			body := strings.Repeat(fmt.Sprint(i), fields*50)
			q, s := get(fmt.Sprint("/", i)), ok()
			for f := range fields {
				q = append(q, fmt.Sprintf("x-name-%d", f%5), fmt.Sprint(f))
			}
			k.client.headers(id, true, q...)
			if i%2 == 0 {
				s = append(s, "content-type", "application/grpc")
			}
			k.flush()
			k.server.frame(frameHeaders, flagEndHeaders, id, k.server.encode(":status", "103")).headers(id, false, s...).data(id, false, []byte(body))
			k.server.headers(id, true, "grpc-status", fmt.Sprint(i))
			k.flush()
			x := k.records[len(k.records)-1]
			if !x.Complete || len(x.Request.Headers) != fields || string(x.Response.Body.Content) != body[:min(len(body), 100)] ||
				len(x.Response.InterimStatuses) != 1 || x.GetGrpc().GetStatus() != uint32(i) || len(x.Flaws) != 0 {
				t.Fatalf("exchange %d with %d fields: %v", id, fields, x)
			}
			id += 2
		}
	}
	for range 5 {
		round()
	}
	for _, s := range k.shared.streams {
		if len(s.room.fields) > keepFields || s.room.used != 0 || s.call != nil || s.reqBody.Content != nil {
			t.Errorf("a stream with room for %d fields is kept, %d in use", len(s.room.fields), s.room.used)
		}
	}
	k.shared.Release()
	if n := len(k.shared.streams) + len(k.shared.calls) + len(k.shared.buffers[0]); n != 0 {
		t.Errorf("%d things are kept", n)
	}
	round()
	k.end()
}

// TestStreamCost holds the estimate against what is allocated.
func TestStreamCost(t *testing.T) {
	const n = 1000
	streams := make([]*stream, n)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range streams {
		streams[i] = newStream()
	}
	runtime.ReadMemStats(&after)
	if each := int(after.TotalAlloc-before.TotalAlloc) / n; each > streamCost*11/10 || each < streamCost*9/10 {
		t.Errorf("a stream takes %d bytes, the estimate is %d", each, streamCost)
	}
	s := streams[0]
	(&Conn{shared: new(Shared)}).fields(s, make([]hpack.Field, firstFields))
	if s.cost != 0 {
		t.Errorf("fields that there is room for cost %d bytes", s.cost)
	}
	(&Conn{shared: new(Shared)}).fields(s, make([]hpack.Field, 3))
	if s.cost != 3*fieldCost {
		t.Errorf("3 more cost %d bytes", s.cost)
	}
}
