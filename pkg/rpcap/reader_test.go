package rpcap

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/iotest"
)

// message is what Reader.Next returned, copied.
type message struct {
	h    Header
	body string
}

// flaky hands out data in random pieces and times out in between.
type flaky struct {
	data []byte
	rnd  *rand.Rand
	end  error
}

func (f *flaky) Read(b []byte) (int, error) {
	if f.rnd.IntN(3) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := min(f.rnd.IntN(40), len(f.data), len(b))
	copy(b, f.data[:n])
	f.data = f.data[n:]
	switch {
	case len(f.data) == 0 && f.rnd.IntN(2) == 0:
		return n, f.end
	case f.rnd.IntN(4) == 0:
		return n, os.ErrDeadlineExceeded // with bytes, as a Reader may
	}
	return n, nil
}

// readAll takes messages until an error other than a timeout.
func readAll(r *Reader) (all []message, last error) {
	for {
		h, body, err := r.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return all, err
		}
		all = append(all, message{h, string(body)})
	}
}

func TestReaderTakesWholeMessages(t *testing.T) {
	var wire []byte
	var want []message
	for _, v := range vectors() {
		b := unhex(t, v.wire...)
		wire = append(wire, b...)
		want = append(want, message{ParseHeader(b), string(b[HeaderLen:])})
	}
	check := func(name string, r io.Reader) {
		got, err := readAll(NewReader(r, nil))
		if err != io.EOF || len(got) != len(want) {
			t.Fatalf("%s: %d messages, %v", name, len(got), err)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: message %d is %+v, want %+v", name, i, got[i], want[i])
			}
		}
	}
	check("whole", bytes.NewReader(wire))
	check("bytes", iotest.OneByteReader(bytes.NewReader(wire)))
	check("end with data", iotest.DataErrReader(bytes.NewReader(wire)))
	for seed := range uint64(50) {
		check("flaky", &flaky{data: wire, rnd: rand.New(rand.NewPCG(seed, 1)), end: io.EOF})
	}
}

func TestReaderEnds(t *testing.T) {
	wire := unhex(t, "00 03 0000 00000004", "65746830")
	for n := range len(wire) {
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if _, _, err := NewReader(bytes.NewReader(wire[:n]), nil).Next(); err != want {
			t.Errorf("after %d bytes: %v, want %v", n, err, want)
		}
	}
	broken := errors.New("broken")
	if _, err := readAll(NewReader(io.MultiReader(bytes.NewReader(wire), iotest.ErrReader(broken)), nil)); err != broken {
		t.Errorf("%v, want the error of the reader behind", err)
	}
}

type emptyReader struct{ reads int }

func (r *emptyReader) Read([]byte) (int, error) { r.reads++; return 0, nil }

func TestReaderGivesUpOnEmptyReads(t *testing.T) {
	var e emptyReader
	if _, _, err := NewReader(&e, nil).Next(); err != io.ErrNoProgress || e.reads > 1000 {
		t.Errorf("%v after %d reads", err, e.reads)
	}
}

func TestReaderHoldsLimits(t *testing.T) {
	for i := range 256 {
		typ := Type(i)
		limit := BodyLimit(typ)
		h := Header{Type: typ, Len: uint32(limit) + 1}
		var tooLong *BodyTooLongError
		_, body, err := NewReader(bytes.NewReader(AppendHeader(nil, h)), nil).Next()
		if !errors.As(err, &tooLong) || tooLong.Limit != limit || tooLong.Header != h || body != nil {
			t.Errorf("%v of %d bytes: %v", typ, h.Len, err)
		}
	}
	own := func(Type) int { return 3 }
	if _, body, err := NewReader(bytes.NewReader(unhex(t, "0003000000000003", "616263")), own).Next(); err != nil || string(body) != "abc" {
		t.Errorf("a body of the limit's length: %q, %v", body, err)
	}
	if _, _, err := NewReader(bytes.NewReader(unhex(t, "0003000000000004", "61626364")), own).Next(); err == nil {
		t.Errorf("a body beyond an own limit is taken")
	}
}

// A header that announces much and brings little must not cost memory.
func TestReaderDoesNotTrustLength(t *testing.T) {
	wire := AppendHeader(nil, Header{Type: TypeFindAllIfReply, Len: MaxListing})
	r := NewReader(bytes.NewReader(append(wire, make([]byte, 10_000)...)), nil)
	if _, _, err := r.Next(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if len(r.buf) > 64<<10 {
		t.Errorf("10,000 bytes take a buffer of %d", len(r.buf))
	}
}

func TestReaderGivesLargeBufferBack(t *testing.T) {
	wire := append(AppendHeader(nil, Header{Type: TypeFindAllIfReply, Len: 1 << 20}), make([]byte, 1<<20)...)
	r := NewReader(bytes.NewReader(wire), nil)
	if _, body, err := r.Next(); err != nil || len(body) != 1<<20 {
		t.Fatal(len(body), err)
	}
	if _, _, err := r.Next(); err != io.EOF || len(r.buf) > readerKeepLen {
		t.Errorf("%v; a buffer of %d bytes is kept", err, len(r.buf))
	}
}

func TestReaderBodyIsBounded(t *testing.T) {
	wire := append(unhex(t, "0003000000000003", "616263"), unhex(t, "0003000000000003", "646566")...)
	r := NewReader(bytes.NewReader(wire), nil)
	_, body, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	_ = append(body, "overwritten"...)
	if _, body, err = r.Next(); err != nil || string(body) != "def" {
		t.Errorf("appending to a body changed the next one: %q, %v", body, err)
	}
}

func TestReaderPeek(t *testing.T) {
	quirk := unhex(t, "00 04 0000 00000014 0000ffff 00000032 0001 0000 0001 0000 00000001", "0006 00 00 0000ffff", "00 09 0000 00000000")
	r := NewReader(iotest.OneByteReader(bytes.NewReader(quirk)), nil)
	if _, body, err := r.Next(); err != nil || !LacksFilter(body) {
		t.Fatal(body, err)
	}
	if n := r.Buffered(); n != 0 {
		t.Errorf("%d bytes are buffered", n)
	}
	b, err := r.Peek(UncountedFilterLen)
	if err != nil || !IsUncountedFilter(b) || r.Buffered() != UncountedFilterLen {
		t.Fatalf("peeked %x, %v, %d buffered", b, err, r.Buffered())
	}
	if again, err := r.Peek(UncountedFilterLen); err != nil || !bytes.Equal(again, b) {
		t.Errorf("peeking took something: %x, %v", again, err)
	}
	r.Discard(UncountedFilterLen)
	if h, _, err := r.Next(); err != nil || h.Type != TypeStatsRequest {
		t.Errorf("then %v, %v", h.Type, err)
	}
	if b, err := r.Peek(1); err != io.EOF || len(b) != 0 {
		t.Errorf("at the end: %x, %v", b, err)
	}
}

// FuzzReader holds that a stream's messages don't depend on how it is cut and
// how often it times out: the oracle walks the whole stream by its lengths.
func FuzzReader(f *testing.F) {
	var wire []byte
	for _, v := range vectors() {
		wire = append(wire, unhex(f, v.wire...)...)
	}
	f.Add(wire, uint64(1))
	f.Add(wire[:len(wire)-3], uint64(2))
	f.Add(unhex(f, "0003000000000003", "616263", "00030000ffffffff"), uint64(3))
	f.Fuzz(func(t *testing.T, wire []byte, seed uint64) {
		var want []message
		end := io.EOF
		for rest := wire; len(rest) > 0; {
			if len(rest) < HeaderLen {
				end = io.ErrUnexpectedEOF
				break
			}
			h := ParseHeader(rest)
			if int64(h.Len) > int64(BodyLimit(h.Type)) {
				end = nil // a *BodyTooLongError
				break
			}
			if len(rest) < HeaderLen+int(h.Len) {
				end = io.ErrUnexpectedEOF
				break
			}
			want = append(want, message{h, string(rest[HeaderLen : HeaderLen+h.Len])})
			rest = rest[HeaderLen+h.Len:]
		}
		got, err := readAll(NewReader(&flaky{data: wire, rnd: rand.New(rand.NewPCG(seed, 1)), end: io.EOF}, nil))
		var tooLong *BodyTooLongError
		if end != nil && err != end || end == nil && !errors.As(err, &tooLong) {
			t.Fatalf("ended with %v, want %v", err, end)
		}
		if len(got) != len(want) {
			t.Fatalf("%d messages, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("message %d is %+v, want %+v", i, got[i], want[i])
			}
		}
	})
}
