package engine

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/capfile"
	"capstan/pkg/capture"
	capstanv1 "capstan/proto/capstan/v1"
)

// FuzzRead feeds arbitrary capture files through the whole way: the account
// balances, and what the records say fits the file.
func FuzzRead(f *testing.F) {
	var w wire
	c := w.connect(40000)
	c.say(0, get(1))
	c.say(1, answer(3000))
	c.say(0, get(2))
	c.say(1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	c.frame(0, 0x11, nil)
	c.frame(1, 0x11, nil)
	h := w.connect(40001)
	h.say(0, preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"+"\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x86\x84")
	h.say(1, "\x00\x00\x00\x04\x00\x00\x00\x00\x00"+"\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88"+"\x00\x00\x02\x00\x01\x00\x00\x00\x01ok")
	p := w.connect(40002)
	p.say(0, proxied2+get(1))
	p.say(1, answer(30))
	var file bytes.Buffer
	out, err := capfile.NewWriter(&file, "seed")
	if err != nil {
		f.Fatal(err)
	}
	id, err := out.AddInterface(capfile.Interface{LinkType: capture.LinkTypeEthernet})
	if err != nil {
		f.Fatal(err)
	}
	for i := range w.frames {
		if err := out.WriteFrame(id, &w.frames[i]); err != nil {
			f.Fatal(err)
		}
	}
	if err := out.Flush(); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add(file.Bytes()[:file.Len()-100])

	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := capfile.NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		var records []*capstanv1.Exchange
		e := New(Config{Exchange: exchange.Config{Keep: exchange.NewKeep(64, nil, nil), Emit: exchangetest.Keep(&records)}})
		var frame capture.Frame
		for r.Next(&frame) == nil {
			e.Frame(&frame)
		}
		e.Finish()
		s := e.Snapshot()
		checkSnapshot(t, &s, records)
		for _, x := range records {
			checkRecord(t, x, len(data))
		}
	})
}

// checkRecord holds what is true of any record.
func checkRecord(t *testing.T, x *capstanv1.Exchange, fileLen int) {
	t.Helper()
	if (x.Request == nil && x.Response == nil) == (x.Connection == nil) {
		t.Errorf("a record of nothing, or of two things: %v", x)
	}
	if x.DurationNs < 0 || x.Complete && x.Connection == nil && (x.Request == nil || x.Response == nil) {
		t.Errorf("impossible: %v", x)
	}
	for _, b := range []*capstanv1.Body{x.GetRequest().GetBody(), x.GetResponse().GetBody()} {
		if len(b.GetContent()) > 64 || uint64(len(b.GetContent())) > b.GetSize() {
			t.Errorf("%d bytes kept of a body of %d", len(b.GetContent()), b.GetSize())
		}
		if b.GetSize()-b.GetGapBytes() > uint64(fileLen) {
			t.Errorf("a body of %d bytes, %d of them not captured, from a file of %d", b.GetSize(), b.GetGapBytes(), fileLen)
		}
	}
	for _, s := range []string{x.GetRequest().GetMethod(), x.GetRequest().GetTarget(), x.GetRequest().GetAuthority(), x.GetResponse().GetReason()} {
		if !utf8.ValidString(s) {
			t.Errorf("not UTF-8: %q", s)
		}
	}
}
