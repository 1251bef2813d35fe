package session_test

import (
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"capstan/pkg/rpcap"
)

// The faults that the reference was known for, those that a message can reach.

// CVE-2019-15161: one variable for the lengths of name, description and
// addresses. Each record must be as long as its own fields say.
func TestCVE_2019_15161_LengthsInListings(t *testing.T) {
	in(t, "", func(t *testing.T) {
		host := newHost()
		host.interfaces = everyInterface()
		host.interfaces = append(host.interfaces,
			rpcap.Interface{Name: strings.Repeat("n", 3000), Description: strings.Repeat("d", 70_000)}, // cut to what clients take
			rpcap.Interface{Name: "last"})
		r := start(t, nullAuth, host).auth()
		r.send(listReq)
		got := r.receive()
		count := int(binary.BigEndian.Uint16(got[2:]))
		body := got[8:]
		for i := range count {
			name, description := int(binary.BigEndian.Uint16(body)), int(binary.BigEndian.Uint16(body[2:]))
			want := host.interfaces[i]
			if cut := min(len(want.Name), 1024); name != cut || string(body[12:12+name]) != want.Name[:cut] {
				t.Fatalf("record %d: name of %d bytes", i, name)
			}
			if description != min(len(want.Description), 1024) {
				t.Fatalf("record %d: description of %d bytes", i, description)
			}
			body = body[12+name+description+512*int(binary.BigEndian.Uint16(body[8:])):]
		}
		if len(body) != 0 || count != len(host.interfaces) {
			t.Errorf("%d bytes are left behind %d records", len(body), count)
		}
		r.end()
	})
}

// CVE-2019-15164: a URL as the device made the daemon connect elsewhere.
func TestCVE_2019_15164_URLAsDevice(t *testing.T) {
	in(t, "", func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth()
		for _, device := range []string{"rpcap://192.0.2.1/eth0", "rpcaps://h/", "file:///etc/shadow", "RPCAP://x", "a://b", "eth0?x=a://b"} {
			r.message(&rpcap.OpenRequest{Device: device})
			r.expectError(6, "Source string refers to a remote device")
		}
		r.end()
	})
}

// startWith sends a STARTCAP with a filter, given as nitems and instructions.
func (r *rig) startWith(filter string) {
	r.t.Helper()
	body := unhex(r.t, "00040000 00000005 0001 0000 0001 0000"+filter)
	r.write(append(rpcap.AppendHeader(nil, rpcap.Header{Type: rpcap.TypeStartCapRequest, Len: uint32(len(body))}), body...))
}

// CVE-2026-0799, CVE-2026-31911, CVE-2026-31912, CVE-2026-6244: scratch memory
// by any index, abort at an unknown opcode, reading past the packet, division
// by zero. Here a program is refused, or refuses the frame.
func TestCVE_2026_0799_31911_31912_6244_Interpreter(t *testing.T) {
	const invalid = "The filter contains invalid instructions"
	for name, filter := range map[string]string{
		"scratch word 16, store":      "00000003 0000 00 00 00000001 0002 00 00 00000010 0006 00 00 00040000",
		"scratch word 2³¹, load":      "00000002 0060 00 00 80000000 0006 00 00 00040000",
		"scratch word 16, load to X":  "00000002 0061 00 00 00000010 0006 00 00 00040000",
		"unknown load":                "00000002 00e0 00 00 00000000 0006 00 00 00040000",
		"unknown arithmetic":          "00000002 00f4 00 00 00000000 0006 00 00 00040000",
		"unknown jump":                "00000002 00f5 00 00 00000000 0006 00 00 00040000",
		"bits beyond the opcode":      "00000002 0100 00 00 00000000 0006 00 00 00040000",
		"division by the constant 0":  "00000002 0034 00 00 00000000 0006 00 00 00040000",
		"remainder of the constant 0": "00000002 0094 00 00 00000000 0006 00 00 00040000",
	} {
		in(t, name, func(t *testing.T) {
			r := start(t, nullAuth, newHost()).auth().open()
			r.startWith(filter)
			r.expectError(12, invalid)
			r.inSync()
			r.end()
		})
	}
	for name, filter := range map[string]string{
		"past the packet":    "00000002 0020 00 00 0000003d 0006 00 00 00040000",
		"past 4 GiB":         "00000003 0001 00 00 ffffffff 0040 00 00 00000004 0006 00 00 00040000",
		"MSH past the end":   "00000002 00b1 00 00 7fffffff 0006 00 00 00040000",
		"division by X = 0":  "00000003 0000 00 00 00000005 003c 00 00 00000000 0006 00 00 00040000",
		"remainder of X = 0": "00000003 0000 00 00 00000005 009c 00 00 00000000 0006 00 00 00040000",
	} {
		in(t, name, func(t *testing.T) {
			r := start(t, nullAuth, newHost()).auth()
			r.message(&rpcap.OpenRequest{Device: "any"}) // judged by the interpreter
			r.receive()
			r.startWith(filter)
			r.expect(started)
			data := r.data.connect(t)
			go io.Copy(io.Discard, data) // ended by the session
			r.host.last().Push(ethernet(60, 1))
			r.send(endCap)
			r.expect(endReply)
			r.end()
			if s := r.session.Stats(); s.Filtered != 1 || s.Sent != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// CVE-2026-6554: a jump backwards, by wrapping around, that never ends.
func TestCVE_2026_6554_BackwardJump(t *testing.T) {
	for name, jump := range map[string]string{"to itself": "ffffffff", "to before": "fffffffe", "far": "80000000"} {
		in(t, name, func(t *testing.T) {
			filter := "00000002 0005 00 00" + jump + "0006 00 00 00040000"
			r := start(t, nullAuth, newHost()).auth().open()
			r.startWith(filter)
			r.expectError(12, "The filter contains invalid instructions")
			data := r.capture()
			defer data.Close()
			r.send("00 05 0000 00000018 0001 0000" + filter)
			r.expectError(7, "The filter contains invalid instructions")
			r.inSync()
			r.end()
		})
	}
}

// CVE-2026-18313: the program of each STARTCAP and UPDATEFILTER was never freed,
// 64 KiB each.
func TestCVE_2026_18313_FiltersAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nullAuth, newHost()).auth().open()
		data := r.capture()
		defer data.Close()
		largest := strings.Repeat("0000 00 00 00000001", 8191) + "0006 00 00 00040000"
		heap := func(filter string, rounds int) uint64 {
			for range rounds {
				r.send("00 05 0000 00010008 0001 0000 00002000" + filter)
				r.receive()
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		invalid := strings.TrimSuffix(largest, "0006 00 00 00040000") + "0000 00 00 00000001"
		before := max(heap(largest, 2), heap(invalid, 2))
		const rounds = 100
		if after := max(heap(largest, rounds), heap(invalid, rounds)); after > before+rounds*(64<<10)/10 {
			t.Errorf("the heap grew from %d to %d bytes in %d filters of 64 KiB", before, after, 2*rounds)
		}
		r.end()
	})
}
