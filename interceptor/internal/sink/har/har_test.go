package har

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	capstanv1 "capstan/proto/capstan/v1"
)

// archived is what our own types have of an archive.
type archived struct {
	Version string
	Entries []entry
}

// archive returns the archive of records, as JSON has it, and its content.
func archive(t testing.TB, records ...*capstanv1.Exchange) (any, archived) {
	t.Helper()
	var b bytes.Buffer
	w := New(&b, `v"1`)
	for _, x := range records {
		if err := w.Write(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var v any
	var a struct{ Log archived }
	if err := errors.Join(json.Unmarshal(b.Bytes(), &v), json.Unmarshal(b.Bytes(), &a)); err != nil {
		t.Fatalf("%v: %s", err, b.String())
	}
	return v, a.Log
}

func TestArchive(t *testing.T) {
	x := &capstanv1.Exchange{
		Id: "abc-1", StartTimeUnixNs: 1_700_000_000_123_456_000, Server: &capstanv1.Endpoint{Address: "10.0.0.1", Port: 80},
		Flaws: []capstanv1.Flaw{capstanv1.Flaw_FLAW_NO_RESPONSE},
		Request: &capstanv1.HttpRequest{Method: "POST", Target: "/a?x=1&y=a+b&%zz", Authority: "h", Version: "HTTP/1.1",
			Headers:         []*capstanv1.Header{{Name: "Content-Type", Value: "application/json"}},
			Body:            &capstanv1.Body{Size: 2, Content: []byte("{}")},
			FirstByteUnixNs: 1_000_000, LastByteUnixNs: 3_000_000},
		Response: &capstanv1.HttpResponse{Status: 302, Reason: "Found", Headers: []*capstanv1.Header{{Name: "Location", Value: "/b"}},
			Body:            &capstanv1.Body{Size: 9, Content: []byte("\x1f\x8b"), Truncated: true},
			FirstByteUnixNs: 7_000_000, LastByteUnixNs: 8_000_000},
	}
	_, a := archive(t, &capstanv1.Exchange{Connection: &capstanv1.Connection{}}, x, x)
	if a.Version != "1.2" || len(a.Entries) != 2 {
		t.Fatalf("%+v", a)
	}
	e := a.Entries[0]
	if e.Started != "2023-11-14T22:13:20.123456Z" || e.Time != 7 || e.Timings != (timings{2, 4, 1}) || e.Connection != "abc" || e.Comment != "no response" {
		t.Errorf("%+v", e)
	}
	if r := e.Request; r.URL != "http://h/a?x=1&y=a+b&%zz" || r.PostData.Text != "{}" || r.PostData.MimeType != "application/json" ||
		len(r.QueryString) != 3 || r.QueryString[1].Value != "a b" || r.QueryString[2].Name != "%zz" {
		t.Errorf("%+v", r)
	}
	if p := e.Response; p.Status != 302 || p.RedirectURL != "/b" || p.Content.Encoding != "base64" || p.Content.Text != "H4s=" || p.Content.Comment != "2 bytes of the body are kept" {
		t.Errorf("%+v", p)
	}
}

func TestDecodedBodies(t *testing.T) {
	b := &capstanv1.Body{Size: 2, Content: []byte("\x1f\x8b"), Decoded: []byte("plain"), DecodedSize: 5, Decoding: capstanv1.Decoding_DECODING_COMPLETE}
	if c := newContent(b, ""); c.Text != "plain" || c.Size != 5 || c.Comment != "" {
		t.Errorf("%+v", c)
	}
	b.Decoding = capstanv1.Decoding_DECODING_PARTIAL
	if c := newContent(b, ""); c.Comment == "" {
		t.Errorf("%+v", c)
	}
}

func TestEmptyArchive(t *testing.T) {
	if _, a := archive(t); a.Entries == nil || len(a.Entries) != 0 {
		t.Errorf("%+v", a)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWriteErrorsAreTold(t *testing.T) {
	w := New(broken{}, "v")
	if err := w.Write(&capstanv1.Exchange{Request: &capstanv1.HttpRequest{}}); err == nil || w.Close() == nil {
		t.Error(err)
	}
}

// FuzzArchive: whatever was captured, the archive is HAR 1.2 and has the body's
// bytes.
func FuzzArchive(f *testing.F) {
	f.Add("GET", "/?a=b", "name", "value", []byte("body"))
	f.Add("\x00", "http://\xff?%", "\u2028", "\x1b[2J", []byte("\xff\x00"))
	f.Fuzz(func(t *testing.T, method, target, name, value string, body []byte) {
		headers := []*capstanv1.Header{{Name: name, Value: value}}
		b := &capstanv1.Body{Size: uint64(len(body)), Content: body}
		e := checkArchive(t, &capstanv1.Exchange{
			Request:  &capstanv1.HttpRequest{Method: method, Target: target, Headers: headers, Body: b},
			Response: &capstanv1.HttpResponse{Status: 200, Headers: headers, Body: b},
		})[0]
		if utf8.ValidString(method) && e.Request.Method != method {
			t.Errorf("method %q became %q", method, e.Request.Method)
		}
		got := []byte(e.Response.Content.Text)
		if e.Response.Content.Encoding == "base64" {
			var err error
			if got, err = base64.StdEncoding.DecodeString(e.Response.Content.Text); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, body) {
			t.Errorf("body %q became %q", body, got)
		}
	})
}
