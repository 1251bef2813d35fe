package websocket

import (
	"slices"
	"testing"
)

func TestLooksLikeFrames(t *testing.T) {
	text := func(fromClient bool, s string) []byte { return frame(fromClient, opText|finBit, []byte(s)) }
	for _, tt := range []struct {
		name           string
		b              []byte
		client, server bool
	}{
		{"nothing", nil, false, false},
		{"a message", text(true, "hello"), true, false},
		{"one of a server", text(false, "hello"), false, true},
		{"one and a half", slices.Concat(text(true, "hello"), text(true, "there")[:7]), true, false},
		{"one and a half of a server", slices.Concat(text(false, "hello"), text(false, "there")[:6]), false, false},
		{"half of one", text(true, "hello")[:7], false, false},
		{"no text", text(true, "\xff\xfe"), false, false},
		{"no text of a server", text(false, "\xff\xfe"), false, false},
		{"the end of a message", frame(true, finBit, []byte("rest")), false, false},
		{"the end of a message of a server", frame(false, finBit, []byte("rest")), false, true},
		{"closing", frame(true, opClose|finBit, []byte("\x03\xe8done")), true, false},
		{"closing without a code", frame(false, opClose|finBit, nil), false, true},
		{"closing with half a code", frame(false, opClose|finBit, []byte{3}), false, false},
		{"closing with none", frame(false, opClose|finBit, []byte("\x00\x07")), false, false},
		{"closing with one beyond", frame(false, opClose|finBit, []byte("\x13\x88")), false, false},
		{"no opcode", frame(true, 3|finBit, nil), false, false},
		{"a request", []byte("GET / HTTP/1.1\r\n\r\n"), false, false},
	} {
		for _, fromClient := range []bool{true, false} {
			want := fromClient && tt.client || !fromClient && tt.server
			if ok, compressed := LooksLikeFrames(tt.b, fromClient); ok != want || compressed {
				t.Errorf("%s, from client %v: %v, compressed %v", tt.name, fromClient, ok, compressed)
			}
		}
	}
	if ok, compressed := LooksLikeFrames(frame(true, opText|finBit|rsv1Bit, []byte("\xca\xc8\x00")), true); !ok || !compressed {
		t.Errorf("compressed: %v, %v", ok, compressed)
	}
}

// FuzzLooksLikeFrames: a session finds nothing wrong with what looks like frames.
func FuzzLooksLikeFrames(f *testing.F) {
	f.Add(slices.Concat(frame(true, opText|finBit, []byte("hello")), frame(true, opClose|finBit, []byte("\x03\xe8"))), true)
	f.Add(slices.Concat(frame(false, opBinary|rsv1Bit, []byte("hel")), frame(false, finBit, []byte("lo"))), false)
	f.Fuzz(func(t *testing.T, b []byte, fromClient bool) {
		ok, compressed := LooksLikeFrames(b, fromClient)
		if !ok {
			return
		}
		a := Agreement{ContentLimit: limit}
		if compressed {
			a.Extensions = "permessage-deflate"
		}
		s := New(Config{}, a)
		if !fromClient {
			s.Gap(false, 0)
		}
		s.Data(fromClient, 1, b)
		if record := s.Record(); record.Client.Frames+record.Server.Frames == 0 || record.Client.MalformedFrames+record.Server.MalformedFrames > 0 || record.Client.Resyncs > 0 || record.Server.Resyncs > 1 {
			t.Errorf("%v", record)
		}
	})
}
