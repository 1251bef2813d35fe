package watch

import (
	"context"
	"errors"
	"strings"
	"testing"

	capstanv1 "capstan/proto/capstan/v1"
)

func compiler(t testing.TB) *Compiler {
	t.Helper()
	c, err := NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sample() *capstanv1.Exchange {
	return &capstanv1.Exchange{
		Protocol: capstanv1.Protocol_PROTOCOL_HTTP2, DurationNs: 2e9, Server: &capstanv1.Endpoint{Address: "10.0.0.1", Port: 80},
		Request: &capstanv1.HttpRequest{Method: "POST", Target: "/cart", Headers: []*capstanv1.Header{{Name: "Content-Type", Value: "application/json"}},
			Body: &capstanv1.Body{Content: []byte("\xff{}"), Size: 3}},
		Response: &capstanv1.HttpResponse{Status: 503},
		Flaws:    []capstanv1.Flaw{capstanv1.Flaw_FLAW_GAP},
	}
}

func TestFilters(t *testing.T) {
	c := compiler(t)
	for expression, want := range map[string]bool{
		`exchange.response.status >= 500u && exchange.request.method == "POST"`: true,
		`exchange.response.status >= 500`:                                       true,
		`exchange.response.status == 200u`:                                      false,
		`exchange.protocol == Protocol.PROTOCOL_HTTP2`:                          true,
		`exchange.request.target.startsWith("/cart")`:                           true,
		`exchange.request.target.matches("^/c.*t$")`:                            true,
		`exchange.request.header("content-type").contains("json")`:              true,
		`exchange.response.header("server") == ""`:                              true,
		`exchange.request.headers.exists(h, h.name == "X")`:                     false,
		`exchange.server.port in [80u, 443u]`:                                   true,
		`has(exchange.grpc) || Flaw.FLAW_GAP in exchange.flaws`:                 true,
		`exchange.duration_ns > 1000000000`:                                     true,
		`exchange.request.body.content == b"\xff{}"`:                            true,
		`exchange.grpc.service == "x"`:                                          false, // what is absent is empty
	} {
		f, err := c.Compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got, err := f.Match(context.Background(), sample()); got != want || err != nil {
			t.Errorf("%s: %v, %v", expression, got, err)
		}
	}
}

func TestFilterErrorsTellWhere(t *testing.T) {
	c := compiler(t)
	for expression, want := range map[string]string{
		"exchange.response.status = 5":         "filter: line 1, column 26: ",
		"true &&\n  exchange.colour == 1":      "filter: line 2, column 11: undefined field 'colour'",
		"exchange.response.status == 500":      "an unsigned number is written 500u",
		"exchange.request.method":              "is of type string",
		"nonsense":                             "line 1, column 1: undeclared reference",
		strings.Repeat("(", MaxFilterLen+1):    "longer than 4096 bytes",
		strings.Repeat("(", MaxFilterLen):      "filter: ",
		`exchange.request.target.matches("(")`: "filter: ",
	} {
		_, err := c.Compile(expression)
		var bad *FilterError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", expression, err, want)
		}
	}
	if f, err := c.Compile(" \n"); f != nil || err != nil {
		t.Error(f, err)
	}
}

// TestCostIsLimited: what a watcher asks for is stopped, told and left out.
func TestCostIsLimited(t *testing.T) {
	x := sample()
	for range 200 {
		x.Request.Headers = append(x.Request.Headers, &capstanv1.Header{Name: "n", Value: "v"})
	}
	f, err := compiler(t).Compile(`exchange.request.headers.all(a, exchange.request.headers.all(b, exchange.request.headers.all(c, a.name != "x" && c.name != "y")))`)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.Match(context.Background(), x); ok || err == nil || !strings.Contains(err.Error(), "cost limit") {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestFilteredWatch(t *testing.T) {
	h, c := New(Config{}), compiler(t)
	fails, err := c.Compile(`exchange.response.status == 500u || exchange.request.headers[1].name == "x"`)
	if err != nil {
		t.Fatal(err)
	}
	errorsOnly, err := c.Compile(`exchange.response.status == 500u`)
	if err != nil {
		t.Fatal(err)
	}
	a, b := watch(t, h, Options{Filter: fails}), watch(t, h, Options{Filter: errorsOnly})
	for n := range 5 {
		h.Push(record(t, n))
	}
	h.Close()
	if got := read(t, a); got != "1 3 !3" {
		t.Error(got)
	}
	if got := read(t, b); got != "1 3" {
		t.Error(got)
	}
}

// FuzzFilter: whatever is asked, the answer is a filter or an error with a
// place inside of the text, and what compiles can be asked about any record.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{`exchange.response.status >= 500u`, `exchange.request.header("a") == "b"`, "true ||", "[1].all(x, x > 0)", "\xff", `exchange.request.target.matches("a*")`} {
		f.Add(s)
	}
	c := compiler(f)
	x := sample()
	f.Fuzz(func(t *testing.T, expression string) {
		filter, err := c.Compile(expression)
		if err != nil {
			var bad *FilterError
			if !errors.As(err, &bad) || bad.Text == "" || bad.Line > strings.Count(expression, "\n")+2 {
				t.Fatalf("%q: %#v", expression, err)
			}
			return
		}
		if filter == nil {
			return
		}
		first, err := filter.Match(context.Background(), x)
		second, again := filter.Match(context.Background(), x)
		if first != second || (err == nil) != (again == nil) {
			t.Fatalf("%q: %v %v, then %v %v", expression, first, err, second, again)
		}
	})
}
