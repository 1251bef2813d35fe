package har

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	capstanv1 "capstan/proto/capstan/v1"
)

// object is what HAR 1.2 says of one of its objects
// (http://www.softwareishard.com/blog/har-12-spec/): fields by name, with a type,
// and ? behind it if they may be missing. Types are text, number, time, or the
// name of another object, in brackets for a list of them. Fields that begin with
// _ are anybody's.
type object map[string]string

var har12 = map[string]object{
	"archive":  {"log": "log"},
	"log":      {"version": "text", "creator": "creator", "browser": "creator?", "pages": "[page]?", "entries": "[entry]", "comment": "text?"},
	"creator":  {"name": "text", "version": "text", "comment": "text?"},
	"entry":    {"pageref": "text?", "startedDateTime": "time", "time": "number", "request": "request", "response": "response", "cache": "cache", "timings": "timings", "serverIPAddress": "text?", "connection": "text?", "comment": "text?"},
	"request":  {"method": "text", "url": "text", "httpVersion": "text", "cookies": "[cookie]", "headers": "[pair]", "queryString": "[pair]", "postData": "postData?", "headersSize": "number", "bodySize": "number", "comment": "text?"},
	"response": {"status": "number", "statusText": "text", "httpVersion": "text", "cookies": "[cookie]", "headers": "[pair]", "content": "content", "redirectURL": "text", "headersSize": "number", "bodySize": "number", "comment": "text?"},
	"cookie":   {"name": "text", "value": "text", "path": "text?", "domain": "text?", "expires": "time?", "comment": "text?"},
	"pair":     {"name": "text", "value": "text", "comment": "text?"},
	"postData": {"mimeType": "text", "params": "[param]", "text": "text", "comment": "text?"},
	"param":    {"name": "text", "value": "text?", "fileName": "text?", "contentType": "text?", "comment": "text?"},
	"content":  {"size": "number", "compression": "number?", "mimeType": "text", "text": "text?", "encoding": "text?", "comment": "text?"},
	"cache":    {},
	"timings":  {"blocked": "number?", "dns": "number?", "connect": "number?", "send": "number", "wait": "number", "receive": "number", "ssl": "number?", "comment": "text?"},
}

// check tells where value is not what HAR 1.2 says of a type.
func check(value any, kind, at string) error {
	if inner, ok := strings.CutPrefix(kind, "["); ok {
		list, ok := value.([]any)
		if !ok {
			return fmt.Errorf("%s: no list: %v", at, value)
		}
		for i, item := range list {
			if err := check(item, strings.TrimSuffix(inner, "]"), fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
		return nil
	}
	switch v := value.(type) {
	case string:
		if kind == "time" {
			_, err := time.Parse("2006-01-02T15:04:05.999999999Z07:00", v)
			return err
		}
		if kind == "text" {
			return nil
		}
	case float64:
		if kind == "number" {
			return nil
		}
	case map[string]any:
		return checkObject(v, har12[kind], at)
	}
	return fmt.Errorf("%s: no %s: %v", at, kind, value)
}

func checkObject(v map[string]any, o object, at string) error {
	if o == nil {
		return fmt.Errorf("%s: is an object", at)
	}
	for name, kind := range o {
		kind, optional := strings.CutSuffix(kind, "?")
		value, ok := v[name]
		if !ok && optional {
			continue
		}
		if !ok {
			return fmt.Errorf("%s.%s: is missing", at, name)
		}
		if err := check(value, kind, at+"."+name); err != nil {
			return err
		}
	}
	for name := range v {
		if o[name] == "" && !strings.HasPrefix(name, "_") {
			return fmt.Errorf("%s.%s: is not of the format", at, name)
		}
	}
	return nil
}

// checkEntry checks what the format says of an entry in words.
func checkEntry(e *entry) error {
	t := e.Timings
	switch {
	case t.Send < 0 || t.Wait < 0 || t.Receive < 0 || math.Abs(e.Time-t.Send-t.Wait-t.Receive) > 1e-9:
		return fmt.Errorf("time %v is not the sum of %+v", e.Time, t)
	case e.Response.Content.Encoding != "" && e.Response.Content.Encoding != "base64":
		return fmt.Errorf("encoding %q", e.Response.Content.Encoding)
	case e.Response.Content.Encoding == "base64":
		if _, err := base64.StdEncoding.DecodeString(e.Response.Content.Text); err != nil {
			return err
		}
	}
	if e.ServerIP != "" {
		if _, err := netip.ParseAddr(e.ServerIP); err != nil {
			return err
		}
	}
	return nil
}

func checkArchive(t testing.TB, records ...*capstanv1.Exchange) []entry {
	t.Helper()
	v, a := archive(t, records...)
	if err := check(v, "archive", ""); err != nil {
		t.Error(err)
	}
	for i := range a.Entries {
		if err := checkEntry(&a.Entries[i]); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	return a.Entries
}

// TestArchiveIsHAR12: records of each protocol, with all that they may have and
// lack, are what the format says.
func TestArchiveIsHAR12(t *testing.T) {
	field := func(name, value string) []*capstanv1.Header { return []*capstanv1.Header{{Name: name, Value: value}} }
	server := &capstanv1.Endpoint{Address: "2001:db8::1", Port: 443}
	entries := checkArchive(t,
		&capstanv1.Exchange{
			Id: "a-0", Protocol: capstanv1.Protocol_PROTOCOL_HTTP1, StartTimeUnixNs: 1_700_000_000_000_000_000, Server: server, Complete: true,
			Request: &capstanv1.HttpRequest{Method: "GET", Target: "/a?b=c&d", Authority: "shop", Version: "HTTP/1.1", Headers: field("Cookie", "***"), FirstByteUnixNs: 5, LastByteUnixNs: 9},
			Response: &capstanv1.HttpResponse{Status: 200, Reason: "OK", Version: "HTTP/1.1", Headers: field("Content-Type", "image/png"),
				Body: &capstanv1.Body{Size: 4, Content: []byte("\x89PNG")}, FirstByteUnixNs: 20, LastByteUnixNs: 30},
		},
		&capstanv1.Exchange{
			Id: "b-0", Protocol: capstanv1.Protocol_PROTOCOL_GRPC, Server: server, StreamId: 1,
			Request: &capstanv1.HttpRequest{Method: "POST", Target: "/s.S/M", Authority: "shop", Scheme: "https", Version: "HTTP/2",
				Headers: field("content-type", "application/grpc"), Body: &capstanv1.Body{Size: 6, Content: []byte("\x00\x00\x00\x00\x01\xff")}},
			Response: &capstanv1.HttpResponse{Status: 200, Version: "HTTP/2", Trailers: field("grpc-status", "0"),
				Body: &capstanv1.Body{Size: 100, Content: []byte("\x1f\x8b"), Truncated: true, Decoded: []byte("x"), DecodedSize: 50, Decoding: capstanv1.Decoding_DECODING_PARTIAL}},
		},
		&capstanv1.Exchange{ // no response, and a clock that stepped back
			Id: "c-0", Request: &capstanv1.HttpRequest{FirstByteUnixNs: 9, LastByteUnixNs: 5, Headers: []*capstanv1.Header{{NameUnknown: true, ValueUnknown: true}}},
			Flaws: []capstanv1.Flaw{capstanv1.Flaw_FLAW_NO_RESPONSE, capstanv1.Flaw_FLAW_GAP},
		},
		&capstanv1.Exchange{Id: "d-0", Response: &capstanv1.HttpResponse{Status: 500}, Flaws: []capstanv1.Flaw{capstanv1.Flaw_FLAW_NO_REQUEST}},
		&capstanv1.Exchange{ // WebSocket of HTTP/2
			Id: "e-0", Request: &capstanv1.HttpRequest{Method: "CONNECT", Target: "/chat", Authority: "shop", Scheme: "https", Protocol: "websocket"},
			Response: &capstanv1.HttpResponse{Status: 200}, Websocket: &capstanv1.WebSocket{},
		},
	)
	if len(entries) != 5 {
		t.Fatalf("%d entries", len(entries))
	}
	for _, e := range entries[:2] {
		if u, err := url.Parse(e.Request.URL); err != nil || !u.IsAbs() || u.Host != "shop" {
			t.Errorf("URL %q, %v", e.Request.URL, err)
		}
	}
	if got := entries[1].Response.Trailers; len(got) != 1 || got[0] != (pair{Name: "grpc-status", Value: "0"}) {
		t.Errorf("trailers %v", got)
	}
	if got := entries[1].Request.PostData; got.Text != "AAAAAAH/" || got.Comment != "text is base64" {
		t.Errorf("%+v", got)
	}
	checkArchive(t)
}

// TestCheckFindsMistakes: the judge is one.
func TestCheckFindsMistakes(t *testing.T) {
	for _, mistake := range []func(e map[string]any){
		func(e map[string]any) { delete(e, "cache") },
		func(e map[string]any) { e["more"] = 1.0 },
		func(e map[string]any) { e["time"] = "1" },
		func(e map[string]any) { e["startedDateTime"] = "today" },
		func(e map[string]any) { e["request"].(map[string]any)["headers"] = []any{map[string]any{"name": "a"}} },
		func(e map[string]any) { e["response"].(map[string]any)["cookies"] = nil },
	} {
		v, _ := archive(t, &capstanv1.Exchange{Request: &capstanv1.HttpRequest{}})
		mistake(v.(map[string]any)["log"].(map[string]any)["entries"].([]any)[0].(map[string]any))
		if check(v, "archive", "") == nil {
			t.Error("a mistake is not found")
		}
	}
}
