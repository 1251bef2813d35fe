package rpcap

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// vector is a message and its bytes. Where a body shorter than the message's
// is legal, accepts tells at which lengths.
type vector struct {
	name    string
	msg     Message
	wire    []string // hex, one string per field
	accepts func(n int) bool
}

func vectors() []vector {
	list := []Instruction{{Op: 0x06, K: 262144}}
	return []vector{
		{"auth null", &AuthRequest{}, []string{
			"00 08 0000 00000008", // version, type, value, length
			"0000",                // type null
			"0000",                // dummy
			"0000 0000",           // slen1, slen2
		}, nil},
		{"auth password", &AuthRequest{AuthType: AuthPassword, User: "bob", Password: []byte("secret")}, []string{
			"00 08 0000 00000011",
			"0001",         // type password
			"0000",         // dummy
			"0003 0006",    // slen1, slen2
			"626f62",       // bob
			"736563726574", // secret
		}, nil},
		{"auth reply of a little-endian server", &AuthReply{ByteOrder: binary.LittleEndian}, []string{
			"00 88 0000 00000008",
			"00 00",    // minvers, maxvers
			"0000",     // pad
			"d4c3b2a1", // byte_order_magic
		}, func(n int) bool { return n != 1 }},
		{"auth reply of a big-endian server", &AuthReply{ByteOrder: binary.BigEndian}, []string{
			"00 88 0000 00000008",
			"00 00",
			"0000",
			"a1b2c3d4",
		}, func(n int) bool { return n != 1 }},
		{"auth reply of libpcap 1.9.1", &AuthReply{}, []string{
			"00 88 0000 00000002",
			"00 00",
		}, func(n int) bool { return n != 1 }},
		{"error, authentication failed", &Error{Code: CodeAuthFailed, Text: "Authentication failed"}, []string{
			"00 01 0012 00000015", // the code is in the header
			"41757468656e7469636174696f6e206661696c6564",
		}, anyLen},
		{"error, TLS required", &Error{Code: CodeTLSRequired, Text: "TLS is required by this server"}, []string{
			"00 01 0013 0000001e",
			hex.EncodeToString([]byte("TLS is required by this server")),
		}, anyLen},
		{"error without a text", &Error{Code: CodeRead}, []string{"00 01 0009 00000000"}, anyLen},
		{"listing request", &FindAllIfRequest{}, []string{"00 02 0000 00000000"}, anyLen},
		{"listing", &FindAllIfReply{Interfaces: []Interface{{
			Name:        "lo",
			Description: "L",
			Flags:       InterfaceLoopback | InterfaceUp | InterfaceRunning | InterfaceNotApplicable,
			Addresses: []InterfaceAddress{
				{Addr: netip.MustParseAddr("127.0.0.1"), Netmask: netip.MustParseAddr("255.0.0.0")},
				{Addr: netip.MustParseAddr("fe80::1%3"), Netmask: netip.MustParseAddr("ffff:ffff:ffff:ffff::")},
			},
		}}}, []string{
			"00 82 0001 0000040f", // the header counts the interfaces
			"0002 0001",           // namelen, desclen
			"00000037",            // flags
			"0002 0000",           // naddr, dummy
			"6c6f 4c",             // name, description
			"0002 0000 7f000001" + zeros(120),
			"0002 0000 ff000000" + zeros(120),
			zeros(128), // no broadcast address
			zeros(128), // no destination
			"0017 0000 00000000 fe800000000000000000000000000001 00000003" + zeros(100),
			"0017 0000 00000000 ffffffffffffffff0000000000000000 00000000" + zeros(100),
			zeros(128),
			zeros(128),
		}, nil},
		{"open", &OpenRequest{Device: "eth0"}, []string{"00 03 0000 00000004", "65746830"}, anyLen},
		{"open reply", &OpenReply{LinkType: 1}, []string{
			"00 83 0000 00000008",
			"00000001", // linktype
			"00000000", // tzoff
		}, nil},
		{"start", &StartCapRequest{SnapLen: 262144, ReadTimeout: 500 * time.Millisecond, Flags: StartCapPromiscuous, Filter: list}, []string{
			"00 04 0000 0000001c",
			"00040000",   // snaplen
			"000001f4",   // read_timeout in milliseconds
			"0001",       // flags
			"0000",       // portdata
			"0001 0000",  // filtertype, dummy
			"00000001",   // nitems
			"0006 00 00", // code, jt, jf
			"00040000",   // k
		}, nil},
		{"start reply", &StartCapReply{DataPort: 40000}, []string{
			"00 84 0000 00000008",
			"00000000", // bufsize
			"9c40",     // portdata
			"0000",     // dummy
		}, nil},
		{"filter", &UpdateFilterRequest{Filter: []Instruction{{Op: 0x15, Jt: 1, Jf: 2, K: 3}, {Op: 6, K: 65535}}}, []string{
			"00 05 0000 00000018",
			"0001 0000",           // filtertype, dummy
			"00000002",            // nitems
			"0015 01 02 00000003", // code, jt, jf, k
			"0006 00 00 0000ffff",
		}, nil},
		{"filter reply", &UpdateFilterReply{}, []string{"00 85 0000 00000000"}, anyLen},
		{"sampling", &SetSamplingRequest{Method: SamplingOneInN, Value: 10}, []string{
			"00 0b 0000 00000008",
			"01",       // method
			"00 0000",  // dummies
			"0000000a", // value
		}, nil},
		{"sampling as libpcap sends it", &SetSamplingRequest{Method: SamplingOneInN}, []string{
			"00 0b 0000 00000008", "01 00 0000", "00000000",
		}, nil},
		{"sampling reply", &SetSamplingReply{}, []string{"00 8b 0000 00000000"}, anyLen},
		{"stats request", &StatsRequest{}, []string{"00 09 0000 00000000"}, anyLen},
		{"stats", &StatsReply{Received: 1, InterfaceDropped: 2, KernelDropped: 3, Sent: 4}, []string{
			"00 89 0000 00000010",
			"00000001 00000002 00000003 00000004", // ifrecv, ifdrop, krnldrop, svrcapt
		}, nil},
		{"stats of a share of connections", &StatsReply{Received: 1, InterfaceDropped: 2, KernelDropped: 3, Sent: 4, OtherFlows: 5}, []string{
			"00 89 0000 00000014", "00000001 00000002 00000003 00000004", "00000005",
		}, func(n int) bool { return n >= 16 }},
		{"end", &EndCapRequest{}, []string{"00 0a 0000 00000000"}, anyLen},
		{"end reply", &EndCapReply{}, []string{"00 8a 0000 00000000"}, anyLen},
		{"close", &Close{}, []string{"00 06 0000 00000000"}, anyLen},
	}
}

func anyLen(int) bool { return true }

func zeros(n int) string { return strings.Repeat("00", n) }

func unhex(t testing.TB, fields ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(fields, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fresh returns a new message of m's type.
func fresh(m Message) Message { return reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message) }

func TestVectors(t *testing.T) {
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			want := unhex(t, v.wire...)
			if got := Append([]byte("before"), v.msg); !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Errorf("encoded\n%x, want\n%x", got[len("before"):], want)
			}
			h := ParseHeader(want)
			if h.Type != v.msg.Type() || int(h.Len) != len(want)-HeaderLen || h.Version != Version {
				t.Fatalf("header %+v of %v", h, v.msg.Type())
			}
			got := fresh(v.msg)
			if err := Decode(h, want[HeaderLen:], got); err != nil || !reflect.DeepEqual(got, v.msg) {
				t.Errorf("decoded %+v, %v, want %+v", got, err, v.msg)
			}
			if int(h.Len) > BodyLimit(h.Type) {
				t.Errorf("longer than its limit %d", BodyLimit(h.Type))
			}
		})
	}
}

// Whatever is cut off a body must be missed, unless a shorter body is legal,
// and what is too long is accepted: the reference skips it.
func TestBodyLengths(t *testing.T) {
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			wire := unhex(t, v.wire...)
			h, body := ParseHeader(wire), wire[HeaderLen:]
			for n := range len(body) {
				err := Decode(h, body[:n:n], fresh(v.msg))
				if accepts := v.accepts != nil && v.accepts(n); accepts != (err == nil) {
					t.Errorf("%d of %d bytes: %v", n, len(body), err)
				}
				var d *DecodeError
				if err != nil && (!errors.As(err, &d) || !d.Short() || d.Message != v.msg.Type() || d.Have >= d.Want || d.Offset > n) {
					t.Errorf("%d of %d bytes: error %#v does not tell what is missing", n, len(body), err)
				}
			}
			switch v.msg.(type) {
			case *OpenRequest, *Error, *AuthReply, *StatsReply: // what follows is part of the text, or of a longer form
				return
			}
			got := fresh(v.msg)
			if err := Decode(h, append(body[:len(body):len(body)], 1, 2, 3, 4, 5), got); err != nil || !reflect.DeepEqual(got, v.msg) {
				t.Errorf("with 5 bytes too many: %+v, %v", got, err)
			}
		})
	}
}

func TestDecodeToleratesAndRefuses(t *testing.T) {
	insns := func(n int) string { return strings.Repeat("0006000000000001", n) }
	for _, tc := range []struct {
		name  string
		value uint16
		body  string
		want  Message // nil: refused
		err   string
		field string
		at    int
	}{
		{"empty auth reply (WinPcap)", 0, "", &AuthReply{}, "", "", 0},
		{"auth reply of 12 bytes", 0, "0001 0000 a1b2c3d4 ffffffff", &AuthReply{MaxVersion: 1, ByteOrder: binary.BigEndian}, "", "", 0},
		{"auth reply of 5 bytes", 0, "0001 0000 a1", &AuthReply{MaxVersion: 1}, "", "", 0},
		{"auth reply without a magic", 0, "0000 0000 00000000", &AuthReply{}, "byte order", "byte_order_magic", 4},
		{"null auth with lengths", 0, "0000 ffff 0009 0009", &AuthRequest{}, "", "", 0},
		{"unknown auth type", 0, "0007 0000 0001 0001", &AuthRequest{AuthType: 7}, "", "", 0},
		{"password longer than the body", 0, "0001 0000 0001 0005 61 62636465", &AuthRequest{}, "too short", "password", 9},
		{"dummies are ignored", 0, "00000060 00000001 0000 0000 0001 ffff 00000001" + insns(1),
			&StartCapRequest{SnapLen: 96, ReadTimeout: time.Millisecond, Filter: []Instruction{{Op: 6, K: 1}}}, "", "", 0},
		{"no instructions", 0, "0001 0000 00000000", &UpdateFilterRequest{}, "", "", 0},
		{"wrong filter type", 0, "0002 0000 00000001" + insns(1), &UpdateFilterRequest{}, TextFilterType, "filtertype", 0},
		{"largest filter", 0, "0001 0000 00002000" + insns(8192), &UpdateFilterRequest{Filter: slices.Repeat([]Instruction{{Op: 6, K: 1}}, 8192)}, "", "", 0},
		{"filter too long", 0, "0001 0000 00002001" + insns(8193), &UpdateFilterRequest{}, TextFilterTooLong, "nitems", 4},
		{"filter that lies about its length", 0, "0001 0000 ffffffff" + insns(1), &UpdateFilterRequest{}, TextFilterTooLong, "nitems", 4},
		{"longest device name", 0, strings.Repeat("61", 1024), &OpenRequest{Device: strings.Repeat("a", 1024)}, "", "", 0},
		{"device name too long", 0, strings.Repeat("61", 1025), &OpenRequest{}, "too long", "device", 0},
		{"error text is cut", 7, strings.Repeat("61", 1000), &Error{Code: CodeUpdateFilter, Text: strings.Repeat("a", 255)}, "", "", 0},
		{"error text with its NUL", 0, "6162 00", &Error{Text: "ab"}, "", "", 0},
		{"negative link type", 0, "ffffffff fffffff0", &OpenReply{LinkType: 0xffffffff, TZOffset: -16}, "", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := fresh(tc.want)
			err := Decode(Header{Value: tc.value}, unhex(t, tc.body), m)
			if tc.err == "" {
				if err != nil || !reflect.DeepEqual(m, tc.want) {
					t.Errorf("got %+v, %v, want %+v", m, err, tc.want)
				}
				return
			}
			var d *DecodeError
			if !errors.As(err, &d) || !strings.Contains(err.Error(), tc.err) || d.Field != tc.field || d.Offset != tc.at {
				t.Errorf("got %+v, %v, want an error about %q of field %s at %d", m, err, tc.err, tc.field, tc.at)
			}
		})
	}
}

// What a length field cannot tell is cut, so that the stream stays in step.
func TestAppendCuts(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for _, tc := range []struct{ in, want Message }{
		{&AuthRequest{AuthType: AuthPassword, User: long, Password: []byte(long)}, &AuthRequest{AuthType: AuthPassword, User: long[:65535], Password: []byte(long[:65535])}},
		{&Error{Text: long}, &Error{Text: long[:255]}},
		{&FindAllIfReply{Interfaces: []Interface{{Name: long, Description: long}}}, &FindAllIfReply{Interfaces: []Interface{{Name: long[:1024], Description: long[:1024]}}}},
		{&StartCapRequest{ReadTimeout: -time.Second}, &StartCapRequest{}},
		{&StartCapRequest{ReadTimeout: 1 << 62}, &StartCapRequest{ReadTimeout: (1<<32 - 1) * time.Millisecond}},
		{&FindAllIfReply{Interfaces: make([]Interface, 70_000)}, &FindAllIfReply{Interfaces: make([]Interface, 65535)}},
	} {
		wire := Append(nil, tc.in)
		h := ParseHeader(wire)
		got := fresh(tc.in)
		if err := Decode(h, wire[HeaderLen:], got); err != nil || int(h.Len) != len(wire)-HeaderLen || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%v: header %+v for %d bytes, %v", tc.in.Type(), h, len(wire), err)
		}
	}
}

func TestAppendVersion(t *testing.T) {
	got := AppendVersion(nil, 3, &Error{Code: CodeWrongVersion, Text: "a"})
	if want := unhex(t, "03 01 0011 00000001 61"); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestTypes(t *testing.T) {
	known := 0
	for i := range 256 {
		typ := Type(i)
		if typ.Known() {
			known++
			if !strings.HasPrefix(typ.String(), "RPCAP_MSG_") {
				t.Errorf("type %#x is called %s", i, typ)
			}
		} else if want := "type "; !strings.HasPrefix(typ.String(), want) {
			t.Errorf("type %#x is called %s", i, typ)
		}
		if BodyLimit(typ) <= 0 || BodyLimit(typ) > MaxListing {
			t.Errorf("limit of %v is %d", typ, BodyLimit(typ))
		}
	}
	if known != 19 { // 11 requests and 8 replies
		t.Errorf("%d types are known", known)
	}
	for c, want := range map[ErrorCode]string{CodeNetwork: "NETW", CodeAuthType: "AUTH_TYPE_NOTSUP", 0: "code 0", 21: "code 21"} {
		if c.String() != want {
			t.Errorf("code %d is called %s, want %s", uint16(c), c, want)
		}
	}
}

func TestRemoteErrorText(t *testing.T) {
	for _, tc := range []struct {
		err  RemoteError
		want string
	}{
		{RemoteError{Code: CodeOpen, Text: "eth9: No such device"}, "eth9: No such device"},
		{RemoteError{Code: CodeRead}, "the other host reports error READEX without a text"},
		{RemoteError{Text: "n\xc3\xb6: \"C:\\a\"\n\x1b]0;x\a\x7f\u009b\xff"}, "n\u00f6: \"C:\\a\"" + `\n\x1b]0;x\a\x7f\u009b\xff`},
	} {
		if got := tc.err.Error(); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

func TestUncountedFilter(t *testing.T) {
	// What libpcap sends without a filter, and a STARTCAP followed by a CLOSE.
	quirk := unhex(t, "00 04 0000 00000014 0000ffff 00000032 0001 0000 0001 0000 00000001", "0006 00 00 0000ffff")
	body, rest := quirk[HeaderLen:HeaderLen+UncountedFilterBody], quirk[HeaderLen+UncountedFilterBody:]
	if !LacksFilter(body) || !IsUncountedFilter(rest) {
		t.Errorf("the quirk is not recognised")
	}
	if len(rest) != UncountedFilterLen || IsUncountedFilter(rest[:7]) {
		t.Errorf("7 of its bytes are enough")
	}
	if IsUncountedFilter(Append(nil, &Close{})) {
		t.Errorf("a CLOSE is taken for a filter")
	}
	full := Append(nil, &StartCapRequest{Filter: []Instruction{{Op: 6, K: 1}}})[HeaderLen:]
	none := Append(nil, &StartCapRequest{})[HeaderLen:]
	if LacksFilter(full) || LacksFilter(none) {
		t.Errorf("a correct STARTCAP is taken for the quirk")
	}
}

func TestEffectiveSnapLen(t *testing.T) {
	for n, want := range map[uint32]int{0: MaxSnapLen, 1: 1, MaxSnapLen: MaxSnapLen, MaxSnapLen + 1: MaxSnapLen, 1<<32 - 1: MaxSnapLen} {
		if got := EffectiveSnapLen(n); got != want {
			t.Errorf("EffectiveSnapLen(%d) = %d, want %d", n, got, want)
		}
	}
}

// FuzzDecode holds that what a message was decoded to survives encoding, for
// every type, and that no body makes a decoder panic.
func FuzzDecode(f *testing.F) {
	types := make(map[Type]Message)
	for _, v := range vectors() {
		types[v.msg.Type()] = v.msg
		wire := unhex(f, v.wire...)
		f.Add(byte(v.msg.Type()), ParseHeader(wire).Value, wire[HeaderLen:])
	}
	f.Add(byte(TypeFindAllIfReply), uint16(0), unhex(f, "0002 0000 00000001 0001 0000 6c6f 0002 0000 7f000001"+zeros(504)))
	f.Add(byte(TypeFindAllIfReply), uint16(1), unhex(f, "0002 0000 00000001 0001 0000 6c6f 0011"+zeros(510)))
	f.Fuzz(func(t *testing.T, typ byte, value uint16, body []byte) {
		known, ok := types[Type(typ)]
		if !ok {
			return
		}
		first := fresh(known)
		if err := Decode(Header{Value: value, Len: uint32(len(body))}, body, first); err != nil {
			var d *DecodeError
			if !errors.As(err, &d) || d.Message != Type(typ) || d.Offset < 0 || d.Offset > len(body) {
				t.Fatalf("%#v", err)
			}
			return
		}
		wire := Append(nil, first)
		h := ParseHeader(wire)
		second := fresh(known)
		if err := Decode(h, wire[HeaderLen:], second); err != nil || int(h.Len) != len(wire)-HeaderLen || !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v came back as %+v, %v", first, second, err)
		}
		if len(wire) > HeaderLen+max(len(body), 2) { // an empty AUTH_REPLY is written with its 2 bytes
			t.Fatalf("%d bytes grew to %d", len(body), len(wire))
		}
	})
}
