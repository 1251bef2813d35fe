package rpcap

import (
	"fmt"
	"net/url"
	"strings"

	"capstan/pkg/capture"
)

// Device is what the name in an OPEN says: one of the listed devices and how
// to capture from it. The text is
//
//	NAME[?KEY=VALUE[&KEY=VALUE…]]
//
// with percent-encoded values. Since clients hand the device part of a URL on
// verbatim, parameters work from tcpdump and Wireshark as they are:
// tcpdump -i 'rpcap://host/eth0?dir=in'.
type Device struct {
	Name string
	// Direction keeps only the frames of one direction ("dir=in", "dir=out");
	// DirectionUnknown keeps both ("dir=both", the default).
	Direction capture.Direction
	// IncludeSelf keeps the daemon's own data connections ("self=include");
	// they are left out by default ("self=exclude").
	IncludeSelf bool
}

// deviceKey is one parameter of a device name.
type deviceKey struct {
	name   string
	values string // for the error text
	set    func(d *Device, value string) bool
	get    func(d *Device) string // "" if it has the default
}

// deviceKeys is the grammar; error texts and String follow its order.
var deviceKeys = []deviceKey{
	{"dir", "in, out or both", setDirection, func(d *Device) string {
		if d.Direction == capture.DirectionUnknown {
			return ""
		}
		return d.Direction.String()
	}},
	{"self", "exclude or include", setSelf, func(d *Device) string {
		if d.IncludeSelf {
			return "include"
		}
		return ""
	}},
}

func setDirection(d *Device, value string) bool {
	switch value {
	case "in":
		d.Direction = capture.DirectionIn
	case "out":
		d.Direction = capture.DirectionOut
	case "both":
		d.Direction = capture.DirectionUnknown
	default:
		return false
	}
	return true
}

func setSelf(d *Device, value string) bool {
	d.IncludeSelf = value == "include"
	return d.IncludeSelf || value == "exclude"
}

// ParseDevice parses the name in an OPEN. An error names the parameter that
// was wrong and lists the valid ones.
func ParseDevice(s string) (Device, error) {
	name, query, ok := strings.Cut(s, "?")
	d := Device{Name: name}
	if strings.ContainsRune(name, 0) {
		return Device{}, fmt.Errorf("%q: name contains a NUL byte", name)
	}
	if !ok {
		return d, nil
	}
	seen := make(map[string]bool)
	for param := range strings.SplitSeq(query, "&") {
		key, escaped, _ := strings.Cut(param, "=")
		k := findDeviceKey(key)
		if k == nil {
			return Device{}, fmt.Errorf("%q: unknown parameter %q; valid are %s", name, key, deviceKeyHelp())
		}
		if seen[key] {
			return Device{}, fmt.Errorf("%q: parameter %q appears twice", name, key)
		}
		seen[key] = true
		value, err := url.QueryUnescape(escaped)
		if err != nil || !k.set(&d, value) {
			return Device{}, fmt.Errorf("%q: bad value %q of parameter %q: want %s", name, escaped, key, k.values)
		}
	}
	return d, nil
}

func findDeviceKey(name string) *deviceKey {
	for i := range deviceKeys {
		if deviceKeys[i].name == name {
			return &deviceKeys[i]
		}
	}
	return nil
}

func deviceKeyHelp() string {
	var help []string
	for _, k := range deviceKeys {
		help = append(help, k.name+" ("+k.values+")")
	}
	return strings.Join(help, ", ")
}

// String returns the shortest text that parses to d.
func (d Device) String() string {
	s, sep := d.Name, "?"
	for _, k := range deviceKeys {
		if v := k.get(&d); v != "" {
			s += sep + k.name + "=" + url.QueryEscape(v)
			sep = "&"
		}
	}
	return s
}
