package api

import (
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"

	capstanv1 "capstan/proto/capstan/v1"
)

// long is a record whose content is n bytes in each place.
func long(n int) *capstanv1.Exchange {
	body := func() *capstanv1.Body {
		return &capstanv1.Body{Size: uint64(2 * n), Content: make([]byte, n), Decoded: make([]byte, n), DecodedSize: uint64(n), Decoding: capstanv1.Decoding_DECODING_COMPLETE}
	}
	x := &capstanv1.Exchange{
		Id: "id-1", Protocol: capstanv1.Protocol_PROTOCOL_HTTP2, Client: &capstanv1.Endpoint{Address: "10.0.0.1", Port: 1}, StartTimeUnixNs: 5, DurationNs: -1,
		Complete: true, Flaws: []capstanv1.Flaw{capstanv1.Flaw_FLAW_GAP}, StreamId: 3,
		Request:  &capstanv1.HttpRequest{Method: "POST", Headers: []*capstanv1.Header{{Name: "A", Value: "b"}}, Body: body()},
		Response: &capstanv1.HttpResponse{Status: 200, InterimStatuses: []uint32{100, 103}, Body: body()},
		Websocket: &capstanv1.WebSocket{Subprotocol: "chat", Messages: []*capstanv1.WebSocketMessage{
			{Opcode: 1, Size: uint64(n), Content: make([]byte, n)}, {Opcode: 9},
		}},
	}
	x.ProtoReflect().SetUnknown([]byte{0xa0, 0x06, 0x01}) // of a newer version
	return x
}

// TestWithoutContent: nothing is missing but content, and the record stays as it is.
func TestWithoutContent(t *testing.T) {
	x := long(100)
	before, want := proto.CloneOf(x), proto.CloneOf(x)
	for _, b := range []*capstanv1.Body{want.Request.Body, want.Response.Body} {
		b.Content, b.Decoded, b.Truncated = nil, nil, true
	}
	want.Websocket.Messages[0].Content, want.Websocket.Messages[0].Incomplete = nil, true
	if got := withoutContent(x); !proto.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if !proto.Equal(x, before) {
		t.Errorf("the record is now %v", x)
	}
	for _, bare := range []*capstanv1.Exchange{{}, {Request: &capstanv1.HttpRequest{}}, long(0)} {
		want := proto.CloneOf(bare)
		if got := withoutContent(bare); !proto.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// TestWithoutContentCopiesNone: it costs as little for a long record as for a short one.
func TestWithoutContentCopiesNone(t *testing.T) {
	const runs, most = 100, 8 << 10
	x := long(1 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		withoutContent(x)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / runs; each > most {
		t.Errorf("%d bytes for each record, more than %d", each, most)
	} else {
		t.Logf("%d bytes for each record", each)
	}
}
