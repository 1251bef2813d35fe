package config

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
)

// File is what a configuration file says (rpcapd-config(5) of the reference).
type File struct {
	Allow    AllowList
	Active   []Target
	NullAuth *bool // nil if the file doesn't tell
}

// Parameters of the file.
const (
	paramActive   = "ActiveClient"
	paramPassive  = "PassiveClient"
	paramNullAuth = "NullAuthPermit"
)

// maxLine is the longest line, without its end (MAX_LINE less two).
const maxLine = 2046

// ReadFile reads a configuration file; name is what problems call it. A line
// that is wrong is skipped and told among the problems, whose texts are the
// reference's. The error is that of reading.
//
// Deviation: the releases 1.10.0 to 1.10.6 of the reference take every
// parameter for invalid, and all of them skip a last line without end.
func ReadFile(r io.Reader, name string) (f File, problems []string, err error) {
	lines := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, tooLong, err := readLine(lines)
		if err == io.EOF {
			return f, problems, nil
		}
		if err != nil {
			return f, problems, err
		}
		problem := "is longer than 2048 characters"
		if !tooLong {
			problem = f.line(line)
		}
		if problem != "" {
			problems = append(problems, fmt.Sprintf("%s, line %d %s", name, number, problem))
		}
	}
}

// readLine returns the next line, as the reference sees it: up to a carriage
// return, a newline or a zero byte.
func readLine(r *bufio.Reader) (line string, tooLong bool, err error) {
	var b []byte
	for {
		chunk, err := r.ReadSlice('\n')
		if len(b) <= maxLine+1 {
			b = append(b, chunk...)
		}
		if err == nil || err == io.EOF && len(b) > 0 {
			break
		}
		if err != bufio.ErrBufferFull {
			return "", false, err
		}
	}
	b = bytes.TrimSuffix(b, []byte("\n"))
	tooLong = len(b) > maxLine
	if end := bytes.IndexAny(b, "\r\x00"); end >= 0 {
		b = b[:end]
	}
	return string(b), tooLong, nil
}

const blanks = " \t"

// line takes one line; it returns what is wrong with it, or "".
func (f *File) line(line string) string {
	line = strings.TrimLeft(line, blanks)
	if line == "" || line[0] == '#' {
		return ""
	}
	if !isLetter(line[0]) {
		return "doesn't have a valid parameter name"
	}
	end := 0
	for end < len(line) && (isLetter(line[end]) || line[end] >= '0' && line[end] <= '9' || line[end] == '-' || line[end] == '_') {
		end++
	}
	param := line[:end]
	rest, found := strings.CutPrefix(strings.TrimLeft(line[end:], blanks), "=")
	if !found {
		return "has a parameter but no ="
	}
	value, _, _ := strings.Cut(rest, "#")
	value = strings.Trim(value, blanks)
	if value == "" {
		return "has a parameter but no value"
	}
	switch param {
	case paramActive:
		return f.addTarget(value)
	case paramPassive:
		return f.addAllowed(value)
	case paramNullAuth:
		setting, _, _ := cutBlank(value)
		yes := setting == "YES"
		f.NullAuth = &yes
		return ""
	}
	return "has an unknown parameter " + param
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// cutBlank cuts s at its first run of blanks.
func cutBlank(s string) (before, after string, found bool) {
	i := strings.IndexAny(s, blanks)
	if i < 0 {
		return s, "", false
	}
	return s[:i], strings.TrimLeft(s[i:], blanks), true
}

// addTarget takes the value of an ActiveClient: a host, a separator and a port.
// What follows the port is not for us: other daemons have more fields.
// Deviation: the reference takes the comma of "host , 2003" for the port.
func (f *File) addTarget(value string) string {
	if len(f.Active) == MaxTargets {
		return fmt.Sprintf("has an %s parameter, but we already have %d active clients", paramActive, MaxTargets)
	}
	end := strings.IndexAny(value, blanks+",;")
	if end == 0 {
		return fmt.Sprintf("has an %s parameter with a value containing no address", paramActive)
	}
	noPort := fmt.Sprintf("has an %s parameter with a value containing no port", paramActive)
	if end < 0 {
		return noPort
	}
	rest := strings.TrimLeft(value[end:], blanks)
	if rest[0] == ',' || rest[0] == ';' {
		rest = strings.TrimLeft(rest[1:], blanks)
	}
	port := strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune(blanks+",;", r) })
	if len(port) == 0 || strings.HasPrefix(rest, ",") || strings.HasPrefix(rest, ";") {
		return noPort
	}
	f.Active = append(f.Active, Target{Host: value[:end], Port: targetPort(port[0])})
	return ""
}

// addAllowed takes the value of a PassiveClient: a host, or several between
// commas or semicolons.
func (f *File) addAllowed(value string) string {
	host, _, _ := cutBlank(value)
	if length := len(f.Allow.String()); length+len(",")+len(host) > maxAllowList {
		return fmt.Sprintf("has a %s parameter with a host name that doesn't fit", paramPassive)
	}
	list, err := parseAllowList(host)
	f.Allow.Entries = append(f.Allow.Entries, list.Entries...)
	if err != nil {
		return fmt.Sprintf("has a %s parameter that never matches: %v", paramPassive, err)
	}
	return ""
}

// Apply makes s what the file says: the lists are the file's; whether clients
// may come without credentials stays as it is if the file doesn't tell.
func (s *Settings) Apply(f File) {
	s.Allow, s.Active = f.Allow, f.Active
	if f.NullAuth != nil {
		s.NullAuth = *f.NullAuth
	}
}

// Save writes s as a configuration file, in the reference's layout.
func (s *Settings) Save(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString("# Configuration file help.\n\n" +
		"# Hosts which are allowed to connect to this server (passive mode)\n" +
		"# Format: PassiveClient = <name or address>\n\n")
	for _, e := range s.Allow.Entries {
		fmt.Fprintf(&b, "%s = %s\n", paramPassive, e.Text)
	}
	b.WriteString("\n\n# Hosts to which this server is trying to connect to (active mode)\n" +
		"# Format: ActiveClient = <name or address>, <port | DEFAULT>\n\n")
	for _, t := range s.Active {
		fmt.Fprintf(&b, "%s = %s, %s\n", paramActive, t.Host, t.Port)
	}
	permit := "NO"
	if s.NullAuth {
		permit = "YES"
	}
	fmt.Fprintf(&b, "\n\n# Permit NULL authentication: YES or NO\n\n%s = %s\n", paramNullAuth, permit)
	_, err := w.Write(b.Bytes())
	return err
}
