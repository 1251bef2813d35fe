package websocket

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestPlaceIsRegainedOnlyWhereFramesFollow: what looks like frames by chance is
// refuted by what no end sends, and doesn't keep the true ones from being found.
func TestPlaceIsRegainedOnlyWhereFramesFollow(t *testing.T) {
	half := frame(true, opBinary, []byte("half")) // without its end
	long := frame(true, opBinary|finBit, nil)
	long[1] |= length64
	long = slices.Insert(long, 2, 0, 0, 1, 0, 0, 0, 0, 0) // 1 TiB, of which nothing comes
	for name, chance := range map[string][]byte{
		"two starts of messages":     slices.Concat(half, half, frame(true, opPing|finBit, nil), []byte("noise")),
		"two messages, none started": slices.Concat(frame(true, opText|finBit, nil), frame(true, finBit, nil), frame(true, opPing|finBit, nil), []byte("noise")),
		"a frame without end":        slices.Concat(long, []byte("noise")),
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Config{}, Agreement{ContentLimit: limit})
			s.Gap(true, 100)
			s.Data(true, 1, chance)
			s.Data(true, 2, frame(true, opText|finBit, []byte("found")))
			record := s.Record()
			if c := record.Client; c.Frames != 1 || c.TextMessages != 1 || c.MalformedFrames > 0 || len(record.Messages) != 1 || string(record.Messages[0].Content) != "found" {
				t.Errorf("%v", record)
			}
		})
	}
}

// TestBodyThatRepeatsItselfIsNoChain: a masked body of which a few bytes look like a frame does
// so again and again, if it repeats itself, as one of zeros does, or a server's list of records.
func TestBodyThatRepeatsItselfIsNoChain(t *testing.T) {
	for _, fromClient := range []bool{true, false} {
		again := bytes.Repeat(frame(fromClient, opText|finBit, []byte("by chance")), 5)
		for name, segments := range map[string][][]byte{
			"behind several in a segment": {append(again, "noise"...)},
			"behind a whole segment":      {again, []byte("noise")},
		} {
			if !fromClient && len(segments) > 1 {
				continue // a server may have sent just that
			}
			s := New(Config{}, Agreement{ContentLimit: limit})
			s.Gap(fromClient, 100)
			for _, b := range append(segments, frame(fromClient, opText|finBit, []byte("found"))) {
				s.Data(fromClient, 1, b)
			}
			if got := lines(s.Record()); len(got) != 1 || !strings.Contains(got[0], "found") {
				t.Errorf("%s, from client %v: told %q", name, fromClient, got)
			}
		}
	}
}

// TestWrongPlaceIsNotMalformed: frames that break the protocol behind a loss tell
// that the place is wrong, and nothing of the one who sent them.
func TestWrongPlaceIsNotMalformed(t *testing.T) {
	s := New(Config{}, Agreement{ContentLimit: limit})
	s.Gap(true, 100)
	s.Data(true, 1, frame(true, opPing|finBit, nil)) // ends with its segment
	s.Data(true, 2, []byte("\x7fnoise"))
	s.Data(true, 3, frame(true, opText|finBit, []byte("found")))
	c := s.Record().Client
	if c.MalformedFrames > 0 || c.TextMessages != 1 || c.Pings != 1 || c.Resyncs != 2 {
		t.Errorf("%v", c)
	}
}

// TestServersFramesMayAllBeAsLong: frames of equal length, larger than segments, end where
// segments do, which a body that only repeats itself does not.
func TestServersFramesMayAllBeAsLong(t *testing.T) {
	const mss, frames = 1448, 10
	for _, tt := range []struct {
		name  string
		ends  bool // each in segments of its own
		least uint64
	}{{"in segments of their own", true, 6}, {"across segments", false, 0}} {
		s := New(Config{}, Agreement{ContentLimit: limit})
		s.Gap(false, 100)
		var b []byte
		for range frames {
			b = append(b, frame(false, opText|finBit, bytes.Repeat([]byte("x"), 2*mss-100))...)
			for len(b) >= mss || tt.ends && len(b) > 0 {
				n := min(len(b), mss)
				s.Data(false, 1, b[:n])
				b = b[n:]
			}
		}
		if c := s.Record().Server; c.TextMessages < tt.least || tt.least == 0 && c.Frames > 0 {
			t.Errorf("%s: %v", tt.name, c)
		}
	}
}

// TestSmallNumbersAreNoFrames: bodies of small numbers that have lost their beginning read as
// empty frames and as fragments.
func TestSmallNumbersAreNoFrames(t *testing.T) {
	const bodies, segments, mss = 300, 40, 1448
	r := rand.New(rand.NewPCG(1, 2))
	low, sample := false, 0
	for name, next := range map[string]func() byte{
		"zeros":         func() byte { return 0 },
		"mostly zeros":  func() byte { return byte(r.UintN(256)) * byte(r.UintN(20)/19) },
		"bytes up to 2": func() byte { return byte(r.UintN(3)) },
		"samples": func() byte { // of 16 bits
			if low = !low; low {
				sample = int(r.NormFloat64() * 300)
				return byte(sample)
			}
			return byte(sample >> 8)
		},
		"bytes up to 9": func() byte { return byte(r.UintN(10)) },
	} {
		for _, fromClient := range []bool{true, false} {
			wrong := 0
			for range bodies {
				s := New(Config{}, Agreement{})
				s.Gap(fromClient, 100)
				for range segments {
					b := make([]byte, mss)
					for i := range b {
						b[i] = next()
					}
					s.Data(fromClient, 1, b)
				}
				record := s.Record()
				if record.Client.GetFrames()+record.Server.GetFrames() > 0 {
					wrong++
				}
			}
			if wrong > 0 {
				t.Errorf("%s, from client %v: %d of %d are told as frames", name, fromClient, wrong, bodies)
			}
		}
	}
}
