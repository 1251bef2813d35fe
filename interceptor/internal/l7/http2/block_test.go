package http2

import (
	"slices"
	"testing"
)

// TestStartOfBlock cuts a header block at each byte: the fields before are told, and
// the next section has none that depends on what is missing.
func TestStartOfBlock(t *testing.T) {
	const missing = " 0 → []200 {} 0 GAP HEADERS_UNKNOWN\n"
	want := []string{
		"1     {}" + missing, "1 GET    {}" + missing, "1 GET http   {}" + missing, "1 GET http h  {}" + missing,
		"1 GET http h /1 {}" + missing, "1 GET http h /1 {a=b}" + missing,
	}
	var got []string
	for cut := frameHeaderLen; ; cut++ {
		k := newTalk(t, Config{})
		b := k.client.headers(1, true, append(get("/1"), "a", "b", "c", "d")...).take()
		if cut == len(b) {
			break
		}
		k.send(fromClient, b[:cut])
		k.gap(fromClient, len(b)-cut)
		k.client.headers(3, true, append(get("/3"), "c", "d")...)
		k.flush()
		k.server.headers(1, true, ok()...).headers(3, true, ok()...)
		records := k.end()
		if len(records) != 2 {
			t.Fatalf("cut at %d: %s", cut, tell(records))
		}
		got = append(got, tell(records[:1]))
		if next, want := tell(records[1:]), "3 GET http  /3 {?=? ?=?} 0 → []200 {} 0 HEADERS_UNKNOWN\n"; next != want {
			t.Errorf("cut at %d: got %swant %s", cut, next, want)
		}
	}
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestStartOfTrailers: a status that comes before the missing bytes is known; a section
// of which the first field is not known may be anything.
func TestStartOfTrailers(t *testing.T) {
	for cut, want := range map[int]string{
		1:  "1 POST http h /S/M {content-type=application/grpc} 0 → []200 {content-type=application/grpc} 0 GAP HEADERS_UNKNOWN\n",
		20: "1 POST http h /S/M {content-type=application/grpc} 0 → []200 {content-type=application/grpc} 0{grpc-status=5} GAP HEADERS_UNKNOWN\n",
	} {
		k := newTalk(t, Config{})
		k.client.headers(1, true, ":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/S/M", "content-type", "application/grpc")
		k.flush()
		k.server.headers(1, false, ok("content-type", "application/grpc")...)
		k.flush()
		b := k.server.headers(1, true, "grpc-status", "5", "grpc-message", "not to be found").take()
		k.send(fromServer, b[:frameHeaderLen+cut])
		k.gap(fromServer, len(b)-frameHeaderLen-cut)
		records := k.end()
		if got := tell(records); got != want {
			t.Errorf("cut at %d: got %swant %s", cut, got, want)
		}
		if known := records[0].Grpc.StatusKnown; known != (cut == 20) || known && records[0].Grpc.Status != 5 {
			t.Errorf("cut at %d: %v", cut, records[0].Grpc)
		}
	}
}
