package opaque

import (
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"

	"google.golang.org/protobuf/proto"
)

func TestRecord(t *testing.T) {
	var records []*capstanv1.Exchange
	c := New(&reassembly.Conn{ClientKnown: true, Client: flow.BToA}, exchange.NewRecorder(exchange.Config{Emit: exchangetest.Keep(&records)}), nil)
	c.Data(flow.AToB, reassembly.Chunk{Time: 10, Bytes: []byte("SSH-2.0-OpenSSH_9.2\r\n")})
	c.Data(flow.BToA, reassembly.Chunk{Time: 12, Bytes: []byte("SSH-2.0-x")})
	c.Gap(flow.BToA, reassembly.Gap{Time: 15, Len: 7})
	c.Data(flow.BToA, reassembly.Chunk{Time: 14, Bytes: []byte("\x00\x01")})
	c.End(flow.AToB, 20)
	c.Close(30, reassembly.CloseRST)
	c.Close(30, reassembly.CloseRST)
	want := &capstanv1.Exchange{
		Protocol: capstanv1.Protocol_PROTOCOL_OTHER, StartTimeUnixNs: 10, DurationNs: 5, Flaws: []capstanv1.Flaw{capstanv1.Flaw_FLAW_GAP},
		Connection: &capstanv1.Connection{
			Client: &capstanv1.Traffic{Bytes: 11, Segments: 2, GapBytes: 7}, Server: &capstanv1.Traffic{Bytes: 21, Segments: 1},
			Close: capstanv1.Close_CLOSE_RESET, LooksLike: "ssh",
		},
	}
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	x := records[0]
	x.Id, x.Client, x.Server = "", nil, nil
	if !proto.Equal(x, want) {
		t.Errorf("%v\nwant %v", x, want)
	}
}

func TestLooksLike(t *testing.T) {
	for _, tt := range []struct {
		bytes      string
		fromClient bool
		want       string
	}{
		{"", true, ""},
		{"SSH-2.0-OpenSSH", true, "ssh"},
		{"220 mail.example ESMTP\r\n", false, "smtp-or-ftp"},
		{"220 mail.example ESMTP\r\n", true, "text"},
		{"* OK IMAP4rev1", false, "imap"},
		{"\x00\x00\x00\x31\x00\x03\x00\x00user", true, "postgresql"},
		{"\x00\x00\x00\x08\x04\xd2\x16\x2f", true, "postgresql"},
		{"\x4a\x00\x00\x00\x0a8.0.36\x00", false, "mysql"},
		{"\x10\x1a\x00\x04MQTT\x04", true, "mqtt"},
		{"*1\r\n$4\r\nPING\r\n", true, "redis"},
		{"RESPMOD icap://filter.example/scan ICAP/1.0\r\n", true, "icap"},
		{"ICAP/1.0 204 No modifications needed\r\n", false, "icap"},
		{"plain words, grüße\r\n", true, "text"},
		{"half a character \xc3", true, "text"},
		{"no character \xff...", true, "binary"},
		{"\x00\x01\x02", false, "binary"},
	} {
		if got := LooksLike([]byte(tt.bytes), tt.fromClient); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.bytes, got, tt.want)
		}
	}
}
