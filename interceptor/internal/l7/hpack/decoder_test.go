package hpack

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	xhpack "golang.org/x/net/http2/hpack"
)

func TestHuffmanAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		text := make([]byte, r.IntN(40))
		for i := range text {
			text[i] = byte(r.IntN(256))
			if r.IntN(3) > 0 {
				text[i] = "abcdefghijklmnop/0123456789-."[r.IntN(29)]
			}
		}
		coded := xhpack.AppendHuffmanString(nil, string(text))
		if got, ok := appendHuffman(nil, coded); !ok || !bytes.Equal(got, text) {
			t.Fatalf("%x: %q %v, want %q", coded, got, ok, text)
		}
	}
}

// FuzzHuffman holds that any bytes are decoded, or refused, as x/net does.
func FuzzHuffman(f *testing.F) {
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(xhpack.AppendHuffmanString(nil, "www.example.com\x00\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		want, err := xhpack.HuffmanDecodeToString(b)
		got, ok := appendHuffman(nil, b)
		if ok != (err == nil) || ok && string(got) != want {
			t.Errorf("%x: %q %v, want %q %v", b, got, ok, want, err)
		}
	})
}

// TestRepresentations takes the examples of RFC 7541 appendix C.2 and the
// errors of sections 2.3.3, 4.2, 5 and 6.
func TestRepresentations(t *testing.T) {
	tests := []struct {
		name, wire string
		want       string // "name: value" of each field
		err        error
	}{
		{"C.2.1 literal with indexing", "\x40\x0acustom-key\x0dcustom-header", "custom-key: custom-header;", nil},
		{"C.2.2 literal without indexing", "\x04\x0c/sample/path", ":path: /sample/path;", nil},
		{"C.2.3 never indexed", "\x10\x08password\x06secret", "password: secret; never;", nil},
		{"C.2.4 indexed", "\x82", ":method: GET;", nil},
		{"insertion and reference", "\x40\x01a\x01b\xbe", "a: b;a: b;", nil},
		{"index 0", "\x80", "", IndexError(0)},
		{"index behind the table", "\xbe", "", IndexError(62)},
		{"name behind the table", "\x7f\x00\x01a", "", IndexError(63)},
		{"size update to 0 evicts", "\x40\x01a\x01b", "a: b;", nil},
		{"size update behind a field", "\x82\x20", "", ErrSizeUpdate},
		{"string cut short", "\x40\x05ab", "", ErrTruncated},
		{"no value", "\x40\x01a", "", ErrTruncated},
		{"integer cut short", "\xff", "", ErrTruncated},
		{"integer too large", "\xff\xff\xff\xff\xff\xff\xff\xff\x0f", "", ErrInteger},
		{"end of string inside", "\x40\x84\xff\xff\xff\xff\x01a", "", ErrHuffman},
		{"padding of zeros", "\x40\x81\x00\x01a", "", ErrHuffman},
	}
	for _, tt := range tests {
		var d Decoder
		d.Start()
		fields, _, err := d.Decode(nil, []byte(tt.wire), Limits{}, new(Scratch))
		got := ""
		for _, f := range fields {
			got += f.Name + ": " + f.Value + ";"
			if f.Form == NeverIndexed {
				got += " never;"
			}
		}
		if !errors.Is(err, tt.err) || err == nil && got != tt.want {
			t.Errorf("%s: %q, %v, want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// TestJoinedLate goes through what a late joiner can and can't know.
func TestJoinedLate(t *testing.T) {
	var d Decoder
	decode := func(wire string) string {
		t.Helper()
		fields, _, err := d.Decode(nil, []byte(wire), Limits{}, new(Scratch))
		if err != nil {
			return err.Error()
		}
		got := ""
		for _, f := range fields {
			name, value := f.Name, f.Value
			if f.NameUnknown {
				name = "?"
			}
			if f.ValueUnknown {
				value = "?"
			}
			got += name + "=" + value + ";"
		}
		return got
	}
	steps := []struct{ name, wire, want string }{
		{"a reference to what was there before", "\xbe", "?=?;"},
		{"an insertion under a name from before", "\x7e\x01v", "?=v;"},
		{"it is the newest now, with what is known of it", "\xbe", "?=v;"},
		{"a new insertion", "\x40\x01a\x01b", "a=b;"},
		{"all three", "\xbe\xbf\xc0", "a=b;?=v;?=?;"},
		{"an insertion under a known name", "\x7e\x01c", "a=c;"},
		{"a size update to less than it all: the oldest must go", "\x3f\x25\xbe", "a=c;"}, // 68
		{"and so nothing unseen can be left", "\xc1", IndexError(65).Error()},
		{"after an error nothing is known", "\xbe", "?=?;"},
		{"a size update to 0 and back: empty, and known to be", "\x20\x3f\xe1\x1f\xbe", IndexError(62).Error()},
	}
	for _, s := range steps {
		if got := decode(s.wire); got != s.want {
			t.Errorf("%s: %s, want %s", s.name, got, s.want)
		}
	}
	d.Start()
	decode("\x40\x01a\x01b")
	d.Forget()
	if got := decode("\xbe"); got != "?=?;" {
		t.Errorf("after a lost block: %s", got)
	}
}

// TestEntryLargerThanTheTable: such an insertion empties the table (RFC 7541
// §4.4); who doesn't know the table's size must not be misled by that.
func TestEntryLargerThanTheTable(t *testing.T) {
	large := "\x40\x01l\x7f\xe1\x26" + strings.Repeat("x", 5088)
	for _, late := range []bool{false, true} {
		var d Decoder
		if !late {
			d.Start()
		}
		fields, _, err := d.Decode(nil, []byte("\x40\x01a\x01b"+large+"\x40\x01c\x01d\xbe"), Limits{}, new(Scratch))
		if err != nil || len(fields) != 4 || fields[3].Name != "c" {
			t.Fatalf("late %v: %v, %v", late, fields, err)
		}
		if want := map[bool]int{false: 1, true: 3}[late]; d.Len() != want {
			t.Errorf("late %v: %d entries known, want %d", late, d.Len(), want)
		}
	}
}

// encoder writes blocks as a peer with x/net's encoder would, or as one that
// picks its representations at random.
type encoder struct {
	r     *rand.Rand
	buf   bytes.Buffer
	x     *xhpack.Encoder
	names []string
}

func newEncoder(r *rand.Rand) *encoder {
	e := &encoder{r: r}
	e.x = xhpack.NewEncoder(&e.buf)
	e.x.SetMaxDynamicTableSizeLimit(1 << 16)
	for i := range 30 {
		e.names = append(e.names, fmt.Sprintf("x-name-%d%s", i, strings.Repeat("n", r.IntN(30))))
	}
	e.names = append(e.names, ":path", ":authority", "cookie", "user-agent")
	return e
}

// block returns a block and what it says.
func (e *encoder) block() ([]byte, []xhpack.HeaderField) {
	e.buf.Reset()
	if e.r.IntN(8) == 0 {
		e.x.SetMaxDynamicTableSize(uint32([]int{0, 40, 100, 300, 1000, 4096, 10000}[e.r.IntN(7)]))
	}
	fields := make([]xhpack.HeaderField, 1+e.r.IntN(12))
	for i := range fields {
		f := &fields[i]
		f.Name = e.names[e.r.IntN(len(e.names))]
		f.Value = fmt.Sprint(e.r.IntN(6))
		switch e.r.IntN(20) {
		case 0:
			f.Value = strings.Repeat("v", e.r.IntN(6000))
		case 1:
			f.Sensitive = true
		}
		if err := e.x.WriteField(*f); err != nil {
			panic(err) // a buffer takes everything
		}
	}
	return bytes.Clone(e.buf.Bytes()), fields
}

// TestNoFieldIsEverWrong joins late, loses blocks, and with small limits: each
// field is what was sent, or marked unknown.
func TestNoFieldIsEverWrong(t *testing.T) {
	known, all := 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		e := newEncoder(r)
		var d Decoder
		var scratch Scratch
		limits := Limits{}
		if seed%3 == 0 {
			limits.TableSize = 200
		}
		join, loss := 0, 0
		switch seed % 4 {
		case 1:
			join = r.IntN(30)
		case 2:
			loss = 10
		case 3:
			join, loss = r.IntN(30), 5
		}
		if join == 0 {
			d.Start()
		}
		for i := range 100 {
			wire, want := e.block()
			if i < join {
				continue
			}
			if loss > 0 && r.IntN(loss) == 0 {
				d.Forget()
				continue
			}
			got, cut, err := d.Decode(nil, wire, limits, &scratch)
			if err != nil || cut || len(got) != len(want) {
				t.Fatalf("seed %d block %d: %d fields, want %d, cut %v: %v", seed, i, len(got), len(want), cut, err)
			}
			for j := range want {
				right, whole := judge(got[j], want[j].Name, want[j].Value)
				if !right || (got[j].Form == NeverIndexed) != want[j].Sensitive {
					t.Fatalf("seed %d block %d: %+v, want %v", seed, i, got[j], want[j])
				}
				if seed%4 == 0 && seed%3 != 0 && !whole {
					t.Fatalf("seed %d block %d: %+v is not known, nothing was lost", seed, i, got[j])
				}
				all++
				if whole {
					known++
				}
			}
		}
		if limits.TableSize > 0 && d.table.size > uint64(limits.TableSize) {
			t.Fatalf("%d bytes kept, limit %d", d.table.size, limits.TableSize)
		}
	}
	t.Logf("%.1f %% of %d fields are known", 100*float64(known)/float64(all), all)
}

// TestListIsBounded sends a block of one byte per field, each of which stands
// for a long one.
func TestListIsBounded(t *testing.T) {
	var d Decoder
	d.Start()
	bomb := "\x40\x01a\x7f\xa1\x1e" + strings.Repeat("x", 4000) + strings.Repeat("\xbe", 20_000)
	fields, cut, err := d.Decode(nil, []byte(bomb), Limits{ListSize: 50_000}, new(Scratch))
	if err != nil || !cut || len(fields) != 12 {
		t.Errorf("%d fields, cut %v, %v", len(fields), cut, err)
	}
	fields, cut, err = d.Decode(fields[:0], []byte(strings.Repeat("\x82", 2000)), Limits{}, new(Scratch))
	if err != nil || !cut || len(fields) != defaultFields {
		t.Errorf("%d fields, cut %v, %v", len(fields), cut, err)
	}
}

func TestIndexedBlockAllocatesNothing(t *testing.T) {
	var d Decoder
	d.Start()
	var scratch Scratch
	fields, _, err := d.Decode(nil, []byte("\x40\x01a\x01b\x40\x01c\x01d"), Limits{}, &scratch)
	if err != nil {
		t.Fatal(err)
	}
	wire := []byte("\x82\x84\x86\xbe\xbf")
	if n := testing.AllocsPerRun(100, func() { fields, _, err = d.Decode(fields[:0], wire, Limits{}, &scratch) }); n != 0 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
}

// FuzzDecode holds Decode against x/net's decoder, then joins late: nothing
// known may differ.
func FuzzDecode(f *testing.F) {
	e := newEncoder(rand.New(rand.NewPCG(5, 5)))
	for range 10 {
		a, _ := e.block()
		b, _ := e.block()
		f.Add(a, b)
	}
	// More fields than a block may have by default.
	f.Add([]byte{}, bytes.Repeat([]byte{0x82}, 2*defaultFields))
	boundless := Limits{TableSize: 1 << 30, Fields: 1 << 20, ListSize: 1 << 30}
	forgetful := boundless
	forgetful.TableSize = 64
	f.Fuzz(func(t *testing.T, first, second []byte) {
		x := xhpack.NewDecoder(DefaultTableSize, nil)
		x.SetAllowedMaxDynamicTableSize(maxInteger)
		var d, late Decoder
		d.Start()
		var scratch Scratch
		for i, wire := range [][]byte{first, second} {
			want, wantErr := x.DecodeFull(wire)
			got, cut, err := d.Decode(nil, wire, boundless, &scratch)
			if errors.Is(err, ErrSizeUpdate) || errors.Is(err, ErrInteger) {
				return // x/net is more tolerant there
			}
			if err == nil && wantErr != nil && strings.Contains(wantErr.Error(), "size update") {
				return // it refuses the second of two, which RFC 7541 §4.2 asks for
			}
			if (err == nil) != (wantErr == nil) || cut {
				t.Fatalf("block %d: error %v, want %v, cut %v", i, err, wantErr, cut)
			}
			if err != nil {
				return
			}
			if len(got) != len(want) {
				t.Fatalf("block %d: %d fields, want %d", i, len(got), len(want))
			}
			for j := range want {
				if right, whole := judge(got[j], want[j].Name, want[j].Value); !right || !whole {
					t.Errorf("block %d: %+v, want %v", i, got[j], want[j])
				}
			}
			if i == 0 {
				continue
			}
			got, cut, err = late.Decode(nil, wire, forgetful, &scratch)
			if err != nil || cut || len(got) != len(want) {
				t.Fatalf("joined late: %d fields, want %d, cut %v, %v", len(got), len(want), cut, err)
			}
			for j := range want {
				if right, _ := judge(got[j], want[j].Name, want[j].Value); !right {
					t.Errorf("joined late: %+v, want %v", got[j], want[j])
				}
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var d Decoder
	d.Start()
	var scratch Scratch
	fields, _, err := d.Decode(nil, []byte("\x40\x01a\x01b\x40\x01c\x01d\x40\x01e\x01f"), Limits{}, &scratch)
	if err != nil {
		b.Fatal(err)
	}
	wire := []byte("\x82\x84\x86\x8e\xbe\xbf\xc0\x90")
	b.ReportAllocs()
	for b.Loop() {
		fields, _, err = d.Decode(fields[:0], wire, Limits{}, &scratch)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// TestFollow forgets what was known although nothing was lost, and takes it back some blocks
// later: then fields are known as if nothing had been forgotten.
func TestFollow(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 8))
		e := newEncoder(r)
		var d, never Decoder
		var scratch Scratch
		limits := Limits{}
		if seed%3 == 0 {
			limits.TableSize = 500
		}
		d.Start()
		never.Start()
		var before *Window
		doubted := false
		for i := range 200 {
			if before == nil && r.IntN(10) == 0 {
				w := d.Window()
				before = &w
				d.Forget()
			} else if before != nil && r.IntN(4) == 0 {
				d.Follow(*before, seed%2 == 0, limits)
				before, doubted = nil, seed%2 == 0
			}
			wire, sent := e.block()
			want, _, err := never.Decode(nil, wire, limits, &scratch)
			got, _, err2 := d.Decode(nil, wire, limits, &scratch)
			if err != nil || err2 != nil || len(got) != len(want) {
				t.Fatalf("seed %d block %d: %d fields, want %d: %v, %v", seed, i, len(got), len(want), err, err2)
			}
			for j, f := range got {
				if right, _ := judge(f, sent[j].Name, sent[j].Value); !right || f.Doubted && !doubted {
					t.Fatalf("seed %d block %d: %+v, want %v", seed, i, f, sent[j])
				}
				// What came in with the name of an entry that was not known then has none.
				if limits.TableSize == 0 && before == nil && f.ValueUnknown != want[j].ValueUnknown {
					t.Fatalf("seed %d block %d: %+v, want %+v", seed, i, f, want[j])
				}
			}
		}
	}
}

// TestRecall loses some blocks and tells, a few blocks later, how much they inserted: then
// whatever was known before is known, and marked, and nothing is wrong.
func TestRecall(t *testing.T) {
	recalled := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 9))
		e := newEncoder(r)
		var d Decoder
		var scratch Scratch
		d.Start()
		decode := func(d *Decoder) ([]Field, []xhpack.HeaderField) {
			wire, sent := e.block()
			got, _, err := d.Decode(nil, wire, Limits{}, &scratch)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			return got, sent
		}
		for range 40 {
			for range r.IntN(8) {
				decode(&d)
			}
			before := d.Window()
			d.Forget()
			var lost Decoder // which tells what was inserted, unless the table's size changes
			for range 1 + r.IntN(3) {
				decode(&lost)
			}
			for range r.IntN(4) {
				decode(&d)
			}
			got, sent := decode(&d)
			if lost.table.maxKnown || d.table.maxKnown {
				continue
			}
			behind := make([]uint32, len(got))
			scratch.Behind(behind)
			for i := range got {
				if _, ok := before.Resolve(&got[i], behind[i], lost.Len()); !ok {
					t.Fatalf("seed %d: %+v can't be", seed, got[i])
				}
			}
			unknown := countUnknown(got)
			d.Recall(before, lost.Len(), got, behind, Limits{})
			for j := range got {
				if right, _ := judge(got[j], sent[j].Name, sent[j].Value); !right {
					t.Fatalf("seed %d: %+v, want %v", seed, got[j], sent[j])
				}
			}
			recalled += unknown - countUnknown(got)
			for range 3 {
				got, sent := decode(&d)
				for j := range got {
					if right, _ := judge(got[j], sent[j].Name, sent[j].Value); !right {
						t.Fatalf("seed %d, later: %+v, want %v", seed, got[j], sent[j])
					}
				}
			}
		}
	}
	if recalled < 1000 {
		t.Errorf("only %d fields were recalled", recalled)
	}
}

func countUnknown(fields []Field) (n int) {
	for _, f := range fields {
		if f.NameUnknown || f.ValueUnknown {
			n++
		}
	}
	return n
}

// TestRoom: an entry stays until what came in since takes its room.
func TestRoom(t *testing.T) {
	var d Decoder
	var scratch Scratch
	w := d.Window()
	if d.Decode(nil, []byte("\x40\x01a\x01b"), Limits{}, &scratch); w.Len() != 0 || d.Len() != 1 {
		t.Fatalf("%d and %d entries", w.Len(), d.Len())
	}
	if w := d.Window(); w.Room(0) >= 0 {
		t.Errorf("room for %d, but the table's size isn't known", w.Room(0))
	}
	d.Start()
	if _, _, err := d.Decode(nil, []byte("\x3f\x45\x40\x01a\x01b\x40\x02cd\x01e"), Limits{}, &scratch); err != nil { // of 100 bytes
		t.Fatal(err)
	}
	w = d.Window()
	if w.Room(0) != 65 || w.Room(1) != 31 || w.Size() != 69 || w.Entry(1).Name != "a" {
		t.Errorf("room for %d and %d behind %d bytes, %+v", w.Room(0), w.Room(1), w.Size(), *w.Entry(1))
	}
}

// TestStartsPseudo tells what can be told of a block without the table.
func TestStartsPseudo(t *testing.T) {
	for block, want := range map[string]bool{
		"":                 false,
		"\x82":             true,
		"\xbe\xfe\x88":     true,
		"\xbe":             false,
		"\x90":             false, // accept-encoding
		"\x80":             false,
		"\xff\x00\x82":     false,
		"\x41\x01h":        true,
		"\x0e\x03500":      true,
		"\x18\x03200":      true,
		"\x0f\x00\x01x":    false,
		"\x40\x01a\x01b":   false,
		"\x20\x82":         false,
		"\x5f\x01a":        false,
		"\xbe\x44\x02/a":   true,
		"\xbd\x82":         false,
		"\x7f\x00\x01x":    false,
		"\xbe\xbe\x8e\xbe": true,
	} {
		if got := StartsPseudo([]byte(block)); got != want {
			t.Errorf("%x: %v", block, got)
		}
	}
}
