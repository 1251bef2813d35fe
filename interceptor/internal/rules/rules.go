package rules

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	capstanv1 "capstan/proto/capstan/v1"
)

// Rule allows or denies what it matches; exactly one of both is set.
type Rule struct {
	Allow *Match `yaml:"allow,omitempty" doc:"record what matches"`
	Deny  *Match `yaml:"deny,omitempty" doc:"do not record what matches"`
}

// Match matches a record for which each list that is not empty has an entry
// that matches. In entries, * stands for any text and ? for one character.
type Match struct {
	Host      []string `yaml:"host,omitempty" doc:"who was asked, without port and case; else the server's address"`
	Path      []string `yaml:"path,omitempty" doc:"the path as it was sent, without query"`
	Method    []string `yaml:"method,omitempty" doc:"such as GET"`
	Status    []string `yaml:"status,omitempty" doc:"such as 404, 5xx or 400-404"`
	Interface []string `yaml:"interface,omitempty" doc:"device of the source, or the file's name"`
}

// Check tells what is wrong with the rule.
func (r *Rule) Check() error {
	if (r.Allow == nil) == (r.Deny == nil) {
		return errors.New("want either allow or deny")
	}
	for _, text := range r.match().Status {
		if _, err := parseStatus(text); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rule) match() *Match {
	if r.Allow != nil {
		return r.Allow
	}
	return r.Deny
}

// String puts the rule in words, as one line.
func (r *Rule) String() string {
	verb := "deny"
	if r.Allow != nil {
		verb = "allow"
	}
	m := r.match()
	var parts []string
	for _, l := range []struct {
		name string
		list []string
	}{{"host", m.Host}, {"path", m.Path}, {"method", m.Method}, {"status", m.Status}, {"interface", m.Interface}} {
		if len(l.list) > 0 {
			parts = append(parts, l.name+" "+strings.Join(l.list, " or "))
		}
	}
	if parts == nil {
		return verb + " everything"
	}
	return verb + " " + strings.Join(parts, ", ")
}

// Policy is a list of rules, and which bodies are kept. Any goroutine may use it.
type Policy struct {
	rules     []compiled
	bodyTypes []string // lower case; empty: all
}

// New returns a policy. bodyTypes are the media types of which bodies are kept,
// such as text/*; none means all.
func New(rules []Rule, bodyTypes []string) (*Policy, error) {
	p := &Policy{}
	for i := range rules {
		if err := rules[i].Check(); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		p.rules = append(p.rules, compile(&rules[i]))
	}
	for _, t := range bodyTypes {
		p.bodyTypes = append(p.bodyTypes, strings.ToLower(t))
	}
	return p, nil
}

// Apply reports whether x is to leave, and takes bodies out of it that are not to
// be kept: omitted tells how many.
func (p *Policy) Apply(x *capstanv1.Exchange) (allowed bool, omitted int) {
	if !p.allows(x) {
		return false, 0
	}
	if len(p.bodyTypes) > 0 {
		omitted = p.strip(x.GetRequest().GetHeaders(), x.GetRequest().GetBody()) +
			p.strip(x.GetResponse().GetHeaders(), x.GetResponse().GetBody())
	}
	return true, omitted
}

func (p *Policy) allows(x *capstanv1.Exchange) bool {
	for i := range p.rules {
		if p.rules[i].matches(x) {
			return p.rules[i].allow
		}
	}
	return true
}

// strip takes the content out of a body whose type is not to be kept, as one
// without a type is not, and returns how many it did.
func (p *Policy) strip(headers []*capstanv1.Header, b *capstanv1.Body) int {
	if len(b.GetContent()) == 0 {
		return 0
	}
	var kind string
	for _, h := range headers {
		if strings.EqualFold(h.Name, "Content-Type") {
			kind, _, _ = strings.Cut(h.Value, ";")
			kind = strings.ToLower(strings.TrimSpace(kind))
			break
		}
	}
	if matchAny(p.bodyTypes, kind) {
		return 0
	}
	b.Content, b.Decoded, b.Truncated = nil, nil, true
	return 1
}

// compiled is a rule with its texts brought into the form of what is matched.
type compiled struct {
	allow      bool
	match      Match
	status     [][2]uint32
	hasRequest bool // it can only match what has a request
}

func compile(r *Rule) compiled {
	c := compiled{allow: r.Allow != nil, match: *r.match()}
	c.match.Host = nil
	for _, h := range r.match().Host {
		c.match.Host = append(c.match.Host, strings.ToLower(h))
	}
	for _, text := range c.match.Status {
		interval, _ := parseStatus(text) // Check has
		c.status = append(c.status, interval)
	}
	c.hasRequest = len(c.match.Path)+len(c.match.Method) > 0
	return c
}

func (c *compiled) matches(x *capstanv1.Exchange) bool {
	q := x.GetRequest()
	if c.hasRequest && q == nil {
		return false
	}
	return (len(c.match.Host) == 0 || matchAny(c.match.Host, host(x))) &&
		(len(c.match.Path) == 0 || matchAny(c.match.Path, Path(q.GetTarget()))) &&
		(len(c.match.Method) == 0 || matchAny(c.match.Method, q.GetMethod())) &&
		(len(c.status) == 0 || c.matchesStatus(x.GetResponse().GetStatus())) &&
		(len(c.match.Interface) == 0 || matchAny(c.match.Interface, device(x.GetSource())))
}

func (c *compiled) matchesStatus(status uint32) bool {
	for _, s := range c.status {
		if s[0] <= status && status <= s[1] {
			return true
		}
	}
	return false
}

// parseStatus returns the first and the last status of 404, 5xx, or 400-404.
func parseStatus(text string) ([2]uint32, error) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	if class, ok := strings.CutSuffix(text, "xx"); ok {
		from, to = class+"00", class+"99"
	}
	a, err1 := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || a < 100 || b > 999 || a > b {
		return [2]uint32{}, fmt.Errorf("status %q is none: write one such as 404, 5xx or 400-404", text)
	}
	return [2]uint32{uint32(a), uint32(b)}, nil
}

// host is who was asked, in lower case and without port.
func host(x *capstanv1.Exchange) string {
	authority := x.GetRequest().GetAuthority()
	if authority == "" {
		return x.GetServer().GetAddress()
	}
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		authority = authority[:i]
	}
	return strings.ToLower(strings.Trim(authority, "[]"))
}

// Path returns the path of a request target (RFC 9112 §3.2), as it was sent.
func Path(target string) string {
	if i := strings.Index(target, "://"); i >= 0 && !strings.HasPrefix(target, "/") {
		target = target[i+3:]
		slash := strings.IndexByte(target, '/')
		if slash < 0 {
			return "/"
		}
		target = target[slash:]
	}
	path, _, _ := strings.Cut(target, "?")
	return path
}

// device is what of a source's name tells the interface.
func device(source string) string {
	if u, err := url.Parse(source); err == nil && u.Scheme != "" {
		return strings.TrimPrefix(u.Path, "/")
	}
	return source
}

func matchAny(patterns []string, text string) bool {
	for _, p := range patterns {
		if wildcard(p, text) {
			return true
		}
	}
	return false
}

// wildcard matches text with a pattern of * and ?. It takes at most the product
// of both lengths: after a mismatch only the last * is tried again.
func wildcard(pattern, text string) bool {
	p, t, star, from := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
