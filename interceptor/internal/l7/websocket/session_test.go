package websocket

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	capstanv1 "capstan/proto/capstan/v1"
)

const limit = 1 << 20

func TestMessages(t *testing.T) {
	s := New(Config{}, Agreement{ContentLimit: limit, Subprotocol: "chat"})
	s.Data(true, 1, frame(true, 0x81, []byte("hello")))
	s.Data(false, 2, append(frame(false, 0x02, []byte("ab")), frame(false, 0x89, []byte("ping"))...)) // a control frame between fragments
	s.Data(true, 3, frame(true, 0x8a, []byte("ping")))
	s.Data(false, 4, append(frame(false, 0x00, []byte("cd")), frame(false, 0x80, nil)...))
	s.Data(false, 5, frame(false, 0x82, bytes.Repeat([]byte("x"), 70_000)))
	s.Data(true, 6, frame(true, 0x88, []byte("\x03\xe8bye")))
	s.Data(false, 7, frame(false, 0x88, nil))
	if !s.Closed() {
		t.Error("not closed")
	}
	w := s.Record()
	expect(t, w,
		`C 1 "hello" of 5/5 in 1`, `S 9 "ping" of 4/4 in 1`, `C 10 "ping" of 4/4 in 1`, `S 2 "abcd" of 4/4 in 3`,
		`S 2 "xxxxx…70000" of 70000/70000 in 1`, `C 8 "\x03\xe8bye" of 5/5 in 1`, `S 8 "" of 0/0 in 1`)
	if m := w.Messages[3]; m.FirstByteUnixNs != 2 || m.LastByteUnixNs != 4 {
		t.Errorf("times %d to %d", m.FirstByteUnixNs, m.LastByteUnixNs)
	}
	want := &capstanv1.WebSocketTraffic{Frames: 3, TextMessages: 1, Pongs: 1, MessageBytes: 5, Closed: true, CloseCode: 1000, CloseReason: "bye"}
	if !proto.Equal(w.Client, want) {
		t.Errorf("client %v, want %v", w.Client, want)
	}
	want = &capstanv1.WebSocketTraffic{Frames: 6, BinaryMessages: 2, Pings: 1, MessageBytes: 70_004, Closed: true, CloseCode: noCode}
	if !proto.Equal(w.Server, want) {
		t.Errorf("server %v, want %v", w.Server, want)
	}
	if w.Subprotocol != "chat" || w.Compression {
		t.Errorf("%v", w)
	}
}

// TestCompression takes messages compressed each on top of those before, and
// each by itself.
func TestCompression(t *testing.T) {
	text := func(n int) []byte { return []byte(strings.Repeat(fmt.Sprintf("message %d, ", n), 20)) }
	t.Run("with takeover", func(t *testing.T) {
		s := New(Config{}, Agreement{ContentLimit: limit, Extensions: "x-other, permessage-deflate; client_max_window_bits=15"})
		d := newDeflater(t)
		for n := range 5 {
			s.Data(true, 1, frame(true, 0xc1, d.message(text(n))))
		}
		half := d.message(text(9))
		s.Data(true, 2, frame(true, 0x41, half[:5]))
		s.Data(true, 2, frame(true, 0x80, half[5:]))
		s.Data(true, 3, frame(true, 0x81, []byte("plain")))
		w := s.Record()
		for n, m := range w.Messages[:5] {
			if !bytes.Equal(m.Content, text(n)) || !m.Compressed || m.ContentSize != uint64(len(text(n))) {
				t.Errorf("message %d: %s", n, line(m))
			}
		}
		if !bytes.Equal(w.Messages[5].Content, text(9)) || string(w.Messages[6].Content) != "plain" || w.Messages[6].Compressed {
			t.Errorf("%s", lines(w))
		}
		if w.Client.CompressedMessages != 6 || !w.Compression {
			t.Errorf("%v", w.Client)
		}
	})
	t.Run("without", func(t *testing.T) {
		s := New(Config{}, Agreement{ContentLimit: limit, Extensions: "permessage-deflate; server_no_context_takeover"})
		s.Data(false, 1, frame(false, 0xc1, newDeflater(t).message(text(1)))[:10])
		s.Gap(false, 1000) // loses the message, and the place
		segment := append(frame(false, 0xc1, newDeflater(t).message(text(2))), frame(false, 0xc1, newDeflater(t).message(text(3)))...)
		s.Data(false, 2, append(segment, frame(false, 0x89, nil)...))
		s.Data(false, 3, frame(false, 0xc1, newDeflater(t).message(text(4))))
		w := s.Record()
		if last := w.Messages[len(w.Messages)-1]; !bytes.Equal(last.Content, text(4)) {
			t.Errorf("%s", lines(w))
		}
	})
	t.Run("lost", func(t *testing.T) {
		s := New(Config{}, Agreement{ContentLimit: limit, Extensions: "permessage-deflate"})
		d := newDeflater(t)
		first := frame(false, 0xc1, d.message(text(1)))
		s.Data(false, 1, first[:4])
		s.Gap(false, int64(len(first)-4)) // exactly the rest
		s.Data(false, 2, frame(false, 0xc1, d.message(text(2))))
		w := s.Record()
		if len(w.Messages) != 2 || !w.Messages[0].Incomplete || w.Messages[1].Incomplete || len(w.Messages[1].Content) != 0 || w.Server.Resyncs != 0 {
			t.Errorf("what can't be inflated any more is told: %s", lines(w))
		}
	})
	t.Run("bomb", func(t *testing.T) {
		s := New(Config{}, Agreement{ContentLimit: 100, Extensions: "permessage-deflate"})
		s.Data(false, 1, frame(false, 0xc2, newDeflater(t).message(make([]byte, 20<<20))))
		w := s.Record()
		if m := w.Messages[0]; len(m.Content) != 100 || m.ContentSize != 0 || cap(s.cfg.Shared.out) > 4*windowLen {
			t.Errorf("%s, %d bytes held", line(m), cap(s.cfg.Shared.out))
		}
	})
	t.Run("long", func(t *testing.T) {
		// Of a long message its beginning is kept, and what later ones refer to; how much room
		// there was from earlier ones makes no difference.
		shared := new(Shared)
		for _, limit := range []int{100, 200 << 10, 70} {
			s := New(Config{Shared: shared}, Agreement{ContentLimit: limit, Extensions: "permessage-deflate"})
			d := newDeflater(t)
			noise := make([]byte, 50<<10)
			for i := range noise {
				noise[i] = byte(i * i >> 7)
			}
			long := bytes.Repeat(noise, 10)
			s.Data(false, 1, frame(false, 0xc2, d.message(long)))
			s.sides[1].room = limit
			s.Data(false, 2, frame(false, 0xc2, d.message(long[len(long)-30<<10:])))
			s.sides[1].room = limit
			s.Data(false, 3, frame(false, 0xc2, d.message(make([]byte, defaultMaxInflated))))
			m := s.Record().Messages
			last := long[len(long)-30<<10:]
			if !bytes.Equal(m[0].Content, long[:min(limit, len(long))]) || m[0].ContentSize != uint64(len(long)) {
				t.Errorf("room for %d: %d bytes of %d, not as they were", limit, len(m[0].Content), m[0].ContentSize)
			}
			if !bytes.Equal(m[1].Content, last[:min(limit, len(last))]) || m[1].ContentSize != uint64(len(last)) {
				t.Errorf("room for %d: what refers to it has %d bytes of %d, not as they were", limit, len(m[1].Content), m[1].ContentSize)
			}
			if m[2].ContentSize != 0 {
				t.Errorf("room for %d: %d bytes were read, at most %d may be", limit, m[2].ContentSize, defaultMaxInflated)
			}
		}
		if shared.Release(); shared.reader != nil || shared.out != nil {
			t.Error("memory is kept")
		}
	})
	t.Run("garbage", func(t *testing.T) {
		s := New(Config{}, Agreement{ContentLimit: 100, Extensions: "permessage-deflate"})
		s.Data(false, 1, frame(false, 0xc2, []byte("\xff\xff\xff\xff")))
		if m := s.Record().Messages[0]; len(m.Content) != 0 || m.ContentSize != 0 {
			t.Errorf("%s", line(m))
		}
	})
}

func TestGaps(t *testing.T) {
	s := New(Config{}, Agreement{ContentLimit: limit})
	whole := frame(false, 0x81, []byte("0123456789"))
	s.Data(false, 1, whole[:5])
	s.Gap(false, 4)
	s.Data(false, 2, whole[9:]) // inside of a payload: the place is kept
	s.Data(false, 3, frame(false, 0x81, []byte("next")))
	s.Gap(false, 50) // anything
	s.Data(false, 4, []byte("rest of a lost frame, which is no header"))
	s.Data(false, 5, frame(false, 0x81, []byte("ends with its segment")))
	s.Data(false, 6, frame(false, 0x81, []byte("found again")))
	w := s.Record()
	expect(t, w, `S 1 "012" of 0/10 in 1 incomplete`, `S 1 "next" of 4/4 in 1`, `S 1 "ends …21" of 21/21 in 1`, `S 1 "found again" of 11/11 in 1`)
	if c := w.Server; c.Resyncs != 1 || c.BrokenMessages != 1 || c.MalformedFrames != 0 {
		t.Errorf("%v", c)
	}
}

// TestUnfinished: what ends within a message, or a frame, has not said all.
func TestUnfinished(t *testing.T) {
	for said, want := range map[string]bool{
		"": false, "\x81\x02hi": false, "\x81\x02hi\x88\x00": false, "\x81\x02h": true, "\x81": true, "\x01\x02hi": true, "\x01\x02hi\x89\x00": true, "\x01\x02hi\x80\x00": false,
		"\x82\x7f\x40\x00\x00\x00\x00\x00\x00\x00" + "much": true,
	} {
		s := New(Config{}, Agreement{ContentLimit: limit})
		s.Data(false, 1, []byte(said))
		if s.Unfinished() != want {
			t.Errorf("%q: %t", said, !want)
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, bad := range map[string][]byte{
		"reserved opcode":         {0x83, 0},
		"reserved bit":            {0xa1, 0},
		"compressed, not agreed":  {0xc1, 0},
		"masked by the server":    {0x81, 0x80, 1, 2, 3, 4},
		"fragmented control":      {0x09, 0},
		"long control":            append([]byte{0x89, 126, 0, 126}, make([]byte, 126)...),
		"length too long":         {0x81, 126, 0, 5, 1, 2, 3, 4, 5},
		"length beyond 63 bits":   {0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0},
		"continuation of nothing": {0x80, 0},
		"half a code":             {0x88, 1, 3},
		"no code that may be":     {0x88, 2, 3, 0xe7},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Config{}, Agreement{ContentLimit: limit})
			s.Data(false, 1, bad)
			if c := s.Record().Server; c.MalformedFrames != 1 {
				t.Errorf("%v", c)
			}
		})
	}
	s := New(Config{}, Agreement{ContentLimit: limit})
	s.Data(true, 1, frame(true, 0x01, []byte("no end")))
	s.Data(true, 2, frame(true, 0x81, []byte("another")))
	w := s.Record()
	expect(t, w, `C 1 "no end" of 0/6 in 1 incomplete`, `C 1 "another" of 7/7 in 1`)
}

func TestLimits(t *testing.T) {
	s := New(Config{MaxMessages: 3}, Agreement{ContentLimit: 7})
	for range 5 {
		s.Data(true, 1, frame(true, 0x81, []byte("abcde")))
	}
	w := s.Record()
	expect(t, w, `C 1 "abcde" of 5/5 in 1`, `C 1 "ab" of 5/5 in 1`, `C 1 "" of 5/5 in 1`)
	if w.Client.TextMessages != 5 || w.Client.MessageBytes != 25 {
		t.Errorf("%v", w.Client)
	}
	segment := frame(false, 0x82, bytes.Repeat([]byte("x"), 1400))
	if n := testing.AllocsPerRun(100, func() { s.Data(false, 1, segment) }); n != 0 {
		t.Errorf("%v allocations for a message that isn't kept", n)
	}
	short := frame(true, 0x81, []byte("short"))
	if n := testing.AllocsPerRun(10, func() {
		kept := New(Config{}, Agreement{ContentLimit: limit})
		for range 64 {
			kept.Data(true, 1, short)
		}
	}); n > 24 {
		t.Errorf("%v allocations for 64 messages that are kept", n)
	}
}

// TestUnmask takes the mask off pieces of any length and place.
func TestUnmask(t *testing.T) {
	h := header{masked: true, mask: [maskLen]byte{1, 2, 4, 8}}
	payload := make([]byte, 60)
	for i := range payload {
		payload[i] = byte(i)
	}
	for from := range payload {
		for to := from; to <= len(payload); to++ {
			got := h.unmask([]byte("before"), payload[from:to], int64(from))
			want := []byte("before")
			for i := from; i < to; i++ {
				want = append(want, byte(i)^h.mask[i%maskLen])
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%d to %d: %x, want %x", from, to, got, want)
			}
		}
	}
}

// FuzzSession cuts the streams of both ends in two ways: as long as no place is
// lost, the record is the same. Whatever they hold, it can be told.
func FuzzSession(f *testing.F) {
	talk := append(frame(true, 0x01, []byte("frag")), frame(true, 0x80, []byte("ments"))...)
	f.Add(talk, frame(false, 0x88, []byte("\x03\xe9going")), uint64(1), false)
	d := newDeflater(f)
	f.Add(frame(true, 0xc1, d.message([]byte("one"))), frame(false, 0xc2, d.message([]byte("two"))), uint64(2), true)
	f.Fuzz(func(t *testing.T, client, server []byte, seed uint64, compression bool) {
		run := func(next func() int) *capstanv1.WebSocket {
			a := Agreement{ContentLimit: 200}
			if compression {
				a.Extensions = "permessage-deflate"
			}
			s := New(Config{MaxMessages: 10}, a)
			for i, b := range [][]byte{client, server} {
				for len(b) > 0 {
					n := min(next(), len(b))
					s.Data(i == 0, 5, b[:n])
					b = b[n:]
				}
			}
			return s.Record()
		}
		r := rand.New(rand.NewPCG(seed, 0))
		whole, cut := run(func() int { return 1 << 20 }), run(func() int { return 1 + r.IntN(20) })
		if _, err := proto.Marshal(whole); err != nil {
			t.Error(err)
		}
		if whole.Client.Resyncs+whole.Server.Resyncs+cut.Client.Resyncs+cut.Server.Resyncs == 0 && !proto.Equal(whole, cut) {
			t.Errorf("whole:\n%v\ncut:\n%v", whole, cut)
		}
		kept := 0
		for _, m := range whole.Messages {
			kept += len(m.Content)
		}
		if kept > 400 || len(whole.Messages) > 10 {
			t.Errorf("%d bytes in %d messages", kept, len(whole.Messages))
		}
	})
}

// TestRandomConversations holds random messages, cut into frames and segments at
// random, against what was said.
func TestRandomConversations(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		compression := r.IntN(2) == 0
		d := newDeflater(t)
		var stream []byte
		var want []string
		for range 1 + r.IntN(10) {
			content := bytes.Repeat([]byte{byte('a' + r.IntN(26))}, r.IntN(300))
			payload, b0, note := content, byte(opText), ""
			if compression && r.IntN(2) == 0 {
				payload, b0, note = d.message(content), opText|rsv1Bit, " compressed"
			}
			frames, rest := 1, payload
			for len(rest) > 1 && r.IntN(3) == 0 {
				n := 1 + r.IntN(len(rest)-1)
				stream = append(stream, frame(true, b0, rest[:n])...)
				rest, b0 = rest[n:], 0
				frames++
			}
			stream = append(stream, frame(true, b0|finBit, rest)...)
			m := &capstanv1.WebSocketMessage{FromClient: true, Opcode: opText, Size: uint64(len(payload)), Frames: uint32(frames), Content: content, ContentSize: uint64(len(content))}
			want = append(want, line(m)+note)
		}
		a := Agreement{ContentLimit: limit}
		if compression {
			a.Extensions = "permessage-deflate"
		}
		s := New(Config{}, a)
		for b := stream; len(b) > 0; {
			n := min(len(b), 1+r.IntN(100))
			s.Data(true, 1, b[:n])
			b = b[n:]
		}
		if expect(t, s.Record(), want...); t.Failed() {
			t.FailNow()
		}
	}
}
