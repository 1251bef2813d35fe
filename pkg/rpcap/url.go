package rpcap

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Scheme tells how a capture source is reached.
type Scheme string

// The schemes. SchemeLocal has no text: the reference reads "rpcap://eth0",
// without a slash after the authority, as the local device eth0.
const (
	SchemeTCP   Scheme = "rpcap"
	SchemeTLS   Scheme = "rpcaps"
	SchemeUnix  Scheme = "rpcap+unix"
	SchemeLocal Scheme = ""
)

// URL names a capture server and, unless Device is empty, a device on it:
//
//	rpcap://[user[:password]@]host[:port]/[device]
//	rpcaps://[user[:password]@]host[:port]/[device]
//	rpcap+unix://percent-encoded-socket-path/[device]
//
// Everything after the slash is the device, verbatim; see [ParseDevice].
type URL struct {
	Scheme         Scheme
	User, Password string // Deviation: libpcap parses and ignores them
	Host           string // name, IPv4 or IPv6 address without brackets
	Port           uint16 // DefaultPort if the text has none
	SocketPath     string // SchemeUnix only
	Device         string // empty for a listing
}

const maxURL = 8 << 10

// ParseURL parses the text of a [URL]. Errors quote it without the password.
func ParseURL(s string) (URL, error) {
	if len(s) > maxURL {
		return URL{}, fmt.Errorf("source of %d bytes: longer than %d", len(s), maxURL)
	}
	u, err := parseURL(s)
	if err != nil {
		return URL{}, fmt.Errorf("source %q: %w", redact(s), err)
	}
	return u, nil
}

func parseURL(s string) (URL, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || strings.ContainsAny(scheme, "/:") {
		return URL{}, errors.New("no scheme: write rpcap://HOST/DEVICE, rpcaps://HOST/DEVICE or rpcap+unix://SOCKET/DEVICE")
	}
	authority, device, remote := strings.Cut(rest, "/")
	u := URL{Scheme: Scheme(scheme), Device: device}
	switch {
	case u.Scheme == SchemeUnix:
		err := u.parseSocket(authority)
		return u, err
	case u.Scheme != SchemeTCP && u.Scheme != SchemeTLS:
		return URL{}, fmt.Errorf("scheme %q is none of rpcap, rpcaps, rpcap+unix", scheme)
	case !remote && strings.ContainsRune(authority, '@'):
		// Deviation: libpcap reads this as a local device's name. Nobody means
		// that, and as a name the password would show up in logs.
		return URL{}, errors.New("no slash after the host")
	case !remote:
		return URL{Scheme: SchemeLocal, Device: authority}, nil
	}
	err := u.parseAuthority(authority)
	return u, err
}

func (u *URL) parseSocket(authority string) error {
	path, err := url.PathUnescape(authority)
	if err != nil {
		return errors.New("socket path: bad percent-encoding")
	}
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") {
		return errors.New("socket path is not absolute; its slashes are written %2F")
	}
	if strings.ContainsRune(path, 0) {
		return errors.New("socket path contains a NUL byte")
	}
	u.SocketPath = path
	return nil
}

// parseAuthority parses [user[:password]@]host[:port]. No error quotes any of
// it, since what looks like a host may be the rest of a password with a
// delimiter in it; [ParseURL] quotes the redacted text.
func (u *URL) parseAuthority(authority string) error {
	if userinfo, hostport, ok := strings.Cut(authority, "@"); ok {
		var err error
		user, password, _ := strings.Cut(userinfo, ":")
		if u.User, err = url.PathUnescape(user); err != nil {
			return errors.New("user: bad percent-encoding")
		}
		if u.Password, err = url.PathUnescape(password); err != nil {
			return errors.New("password: bad percent-encoding")
		}
		authority = hostport
	}
	host, port, err := splitHostPort(authority)
	if err != nil {
		return err
	}
	u.Host, u.Port = host, DefaultPort
	if port == "" {
		return nil
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil || n == 0 {
		return errors.New("port is neither a number from 1 to 65535 nor a service name")
	}
	u.Port = uint16(n)
	return nil
}

// splitHostPort splits host[:port] or [host][:port].
func splitHostPort(authority string) (host, port string, err error) {
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return "", "", errors.New("IP-literal in URL doesn't end with ]")
		}
		host = authority[1:end]
		if rest := authority[end+1:]; rest != "" {
			if rest[0] != ':' {
				return "", "", errors.New("extra text after IP-literal in URL")
			}
			port = rest[1:]
		}
	} else {
		host, port, _ = strings.Cut(authority, ":")
	}
	switch {
	case strings.ContainsRune(host, '@'):
		return "", "", errors.New("more than one @ before the host; one in a user or password is written %40")
	case host == "":
		return "", "", errors.New("no host")
	case strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '[' || r == ']' }):
		return "", "", errors.New("host contains a space, a control character or a bracket")
	}
	return host, port, nil
}

// Address returns what net.Dial needs besides the network "tcp" or "unix".
func (u *URL) Address() string {
	if u.Scheme == SchemeUnix {
		return u.SocketPath
	}
	return net.JoinHostPort(u.Host, strconv.Itoa(int(u.Port)))
}

// String returns the URL's text without the password. What it escapes may make it
// longer than [ParseURL] takes.
func (u URL) String() string {
	switch u.Scheme {
	case SchemeLocal:
		return "rpcap://" + u.Device
	case SchemeUnix:
		return string(u.Scheme) + "://" + url.PathEscape(u.SocketPath) + "/" + u.Device
	}
	user := ""
	if u.User != "" {
		user = url.User(u.User).String() + "@"
	}
	return string(u.Scheme) + "://" + user + u.Address() + "/" + u.Device
}

// redact removes what may be a password from the text of a URL: everything
// between the first colon after the scheme and the last @. That takes too much
// where a device's name has an @, and enough where a delimiter in a password
// isn't encoded.
func redact(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	start := 0
	if i := strings.Index(s, "://"); i >= 0 && !strings.ContainsAny(s[:i], "/:") && i+3 <= at {
		start = i + 3
	}
	user, _, _ := strings.Cut(s[start:at], ":")
	return s[:start] + user + s[at:]
}
