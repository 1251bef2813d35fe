package http2

import (
	"fmt"
	"strings"
	"testing"
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
