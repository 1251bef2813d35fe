package traffic

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlanIsRefused(t *testing.T) {
	for _, c := range []struct {
		plan Plan
		want string
	}{
		{Plan{Size: Fixed(59)}, "size 59: headers and mark of a udp frame need 60 bytes"},
		{Plan{Kind: TCP, Size: Fixed(60)}, "size 60: headers and mark of a tcp frame need 72 bytes"},
		{Plan{IPv6: true, Size: Fixed(60)}, "size 60: headers and mark of a udp over IPv6 frame need 80 bytes"},
		{Plan{Size: Fixed(9217)}, "size 9217: at most 9216"},
		{Plan{Flows: -1}, "flows -1: want 1 to 1048576"},
		{Plan{VLAN: []uint16{5, 4095}}, "VLAN 4095: want 1 to 4094"},
		{Plan{VLAN: []uint16{0}}, "VLAN 0: want 1 to 4094"},
		{Plan{Kind: numKinds}, "unknown kind 6"},
		{Plan{File: "x"}, "a capture file"},
		{Plan{Exchanges: 3}, "are for conversations"},
		{Plan{Kind: HTTP1, Size: IMIX()}, "conversations want a fixed one"},
		{Plan{Kind: HTTP1, Size: Fixed(127)}, "size of a full frame 127"},
		{Plan{Kind: HTTP1, Streams: 2}, "streams are for"},
		{Plan{Kind: HTTP2, Streams: 101}, "streams 101: want 1 to 100"},
		{Plan{Kind: HTTP1, Flows: 1 << 17}, "flows of conversations 131072"},
		{Plan{Kind: HTTP1, RequestLen: -1}, "request length -1"},
		{Plan{Kind: HTTP1, ResponseLen: 64 << 20}, "one connection would have about"},
		{Plan{Kind: GRPC, ResponseLen: 1}, "no protobuf message"},
		{Plan{Kind: File, File: "x", VLAN: []uint16{1}}, "sent as they are"},
	} {
		_, err := New(c.plan)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error with %q", c.plan, err, c.want)
		}
	}
}

func TestAllComplaintsAreReported(t *testing.T) {
	_, err := New(Plan{Size: Fixed(10), Flows: -1, VLAN: []uint16{4095}})
	for _, want := range []string{"size 10", "flows -1", "VLAN 4095"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: nothing about %s", err, want)
		}
	}
}

func TestPlanSurvivesJSON(t *testing.T) {
	for _, p := range []Plan{
		{},
		{Seed: 1, Kind: TCP, Flows: 3, Size: IMIX(), VLAN: []uint16{1, 2}, IPv6: true, Count: 9},
		{Kind: GRPC, Size: Fixed(1514), Connections: 1, Exchanges: 2, RequestLen: 3, ResponseLen: 4, Streams: 5},
		{Kind: File, File: "a:b"},
		{Size: FromFile("x y")},
	} {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var got Plan
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if diff := cmp.Diff(p, got, cmp.Comparer(func(a, b Size) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", b, diff)
		}
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	for _, c := range []struct {
		plan Plan
		want string // of flows, size, exchanges and streams
	}{
		{Plan{}, `{"flows":1,"size":"60"}`},
		{Plan{Kind: TCP, IPv6: true}, `{"flows":1,"size":"92"}`},
		{Plan{Kind: HTTP1}, `{"flows":1,"size":"1514","exchanges":10}`},
		{Plan{Kind: GRPC}, `{"flows":1,"size":"1514","exchanges":10,"streams":4}`},
	} {
		p := newGenerator(t, c.plan).Plan()
		got, err := json.Marshal(struct {
			Flows     int  `json:"flows"`
			Size      Size `json:"size"`
			Exchanges int  `json:"exchanges,omitempty"`
			Streams   int  `json:"streams,omitempty"`
		}{p.Flows, p.Size, p.Exchanges, p.Streams})
		if err != nil || string(got) != c.want {
			t.Errorf("%s %v, want %s", got, err, c.want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"", "60", "imix", "file:x", "0", "-1", "file:", "+5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSize(text)
		if err != nil {
			return
		}
		if again, err := ParseSize(s.String()); err != nil || again != s {
			t.Errorf("%q gives %+v, which as %q gives %+v, %v", text, s, s.String(), again, err)
		}
	})
}
