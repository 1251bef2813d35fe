package delivery

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	capstanv1 "capstan/proto/capstan/v1"
)

// populate gives the fields of m values, or leaves them out, by chance. Below
// depth 0 there are no more messages.
func populate(rnd *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch isMessage := f.Kind() == protoreflect.MessageKind; {
		case rnd.IntN(4) == 0 || isMessage && depth == 0:
		case f.IsList():
			list := m.Mutable(f).List()
			for range rnd.IntN(4) {
				if isMessage {
					populate(rnd, list.AppendMutable().Message(), depth-1)
				} else {
					list.Append(value(rnd, f.Kind()))
				}
			}
		case isMessage:
			populate(rnd, m.Mutable(f).Message(), depth-1)
		default:
			m.Set(f, value(rnd, f.Kind()))
		}
	}
}

func value(rnd *rand.Rand, k protoreflect.Kind) protoreflect.Value {
	n := rnd.Uint64() >> rnd.IntN(64) // of any length
	switch k {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n&1 != 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(n)))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(n)
	}
	text := bytes.Repeat([]byte("é"), rnd.IntN(100))
	if k == protoreflect.BytesKind {
		return protoreflect.ValueOfBytes(text)
	}
	return protoreflect.ValueOfString(string(text))
}

// newRecord returns x as this process encodes it.
func newRecord(t testing.TB, x *capstanv1.Exchange) *Record {
	t.Helper()
	raw, err := appendRecord(nil, x)
	if err != nil {
		t.Fatal(err)
	}
	return &Record{Raw: raw, ours: true}
}

// TestEncoding holds the generated code that encodes and decodes records without
// reflection to the library's.
func TestEncoding(t *testing.T) {
	for seed := range uint64(300) {
		x := new(capstanv1.Exchange)
		populate(rand.New(rand.NewPCG(seed, 1)), x.ProtoReflect(), 4)
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		r := newRecord(t, x)
		if !bytes.Equal(r.Raw, want) {
			t.Fatalf("seed %d: %x\nwant\n%x", seed, r.Raw, want)
		}
		if got, err := r.Exchange(); err != nil || !proto.Equal(got, x) {
			t.Fatalf("seed %d: %v\n%v\nwant\n%v", seed, err, got, x)
		}
	}
}

// FuzzExchange: what the library decodes, the generated code decodes to the same.
// It takes text that is no UTF-8, too, and refuses a field of another wire type,
// which the library passes over as unknown; no interceptor writes either.
func FuzzExchange(f *testing.F) {
	for seed := range uint64(10) {
		x := new(capstanv1.Exchange)
		populate(rand.New(rand.NewPCG(seed, 2)), x.ProtoReflect(), 2)
		raw, err := proto.Marshal(x)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		want := new(capstanv1.Exchange)
		wantErr := proto.Unmarshal(raw, want)
		known := new(capstanv1.Exchange)
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, known); err == nil && !proto.Equal(known, want) {
			return
		}
		got, err := (&Record{Raw: raw}).Exchange()
		switch {
		case wantErr == nil && err != nil:
			t.Fatalf("not decoded: %v", err)
		case wantErr == nil && !proto.Equal(got, want):
			t.Fatalf("decoded to\n%v\nwant\n%v", got, want)
		case err == nil:
			again := newRecord(t, got)
			if x, err := again.Exchange(); err != nil || !proto.Equal(x, got) {
				t.Fatalf("encoded and decoded again: %v\n%v\nwant\n%v", err, x, got)
			}
		}
	})
}
