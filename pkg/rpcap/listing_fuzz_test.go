package rpcap

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// listedNames takes a listing apart by nothing but the lengths in its records.
// It returns nil for one that ends too early or whose texts are too long.
func listedNames(body []byte, count int) (names []string) {
	names = []string{}
	for range count {
		if len(body) < 12 {
			return nil
		}
		name, description := int(binary.BigEndian.Uint16(body)), int(binary.BigEndian.Uint16(body[2:]))
		length := 12 + name + description + 512*int(binary.BigEndian.Uint16(body[8:]))
		if len(body) < length || name > 1024 || description > 1024 {
			return nil
		}
		names = append(names, strings.TrimRight(string(body[12:12+name]), "\x00"))
		body = body[length:]
	}
	return names
}

// FuzzListing decodes any FINDALLIF_REPLY. Which interfaces are in it must
// agree with an independent reading, and what was decoded must come back the
// same after encoding.
func FuzzListing(f *testing.F) {
	for _, list := range [][]Interface{nil, {{Name: "lo", Flags: 0x37}}, {{Name: "a"}, {Name: "b", Description: "c", Addresses: make([]InterfaceAddress, 2)}}} {
		b := Append(nil, &FindAllIfReply{Interfaces: list})
		f.Add(uint16(len(list)), b[HeaderLen:])
	}
	f.Add(uint16(2), []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, count uint16, body []byte) {
		var m FindAllIfReply
		err := Decode(Header{Type: TypeFindAllIfReply, Value: count, Len: uint32(len(body))}, body, &m)
		if count == 0 {
			return // servers that don't count: read to the end of the body
		}
		want := listedNames(body, int(count))
		if (err == nil) != (want != nil) {
			t.Fatalf("%v, but an independent reading finds %q", err, want)
		}
		if err != nil {
			return
		}
		var names []string
		for _, i := range m.Interfaces {
			names = append(names, i.Name)
		}
		if !slices.Equal(names, want) {
			t.Fatalf("interfaces %q, want %q", names, want)
		}
		again := Append(nil, &m)
		var second FindAllIfReply
		if err := Decode(ParseHeader(again), again[HeaderLen:], &second); err != nil {
			t.Fatal(err)
		}
		if got := Append(nil, &second); !slices.Equal(got, again) {
			t.Fatalf("comes back as %x, was %x", got, again)
		}
	})
}
