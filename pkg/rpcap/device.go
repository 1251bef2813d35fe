package rpcap

import (
	"fmt"
	"net/url"
	"strings"
	"time"

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
//
// The zero value of a parameter is its default: as if it were not there.
type Device struct {
	Name string
	// If and NotIf choose among the interfaces behind a device that has
	// several, by their names: patterns as of path.Match, with commas between
	// ("if=veth*,eth0", "not-if=lo"). An interface is captured from if it
	// matches one of If, or If is empty, and none of NotIf.
	If, NotIf string
	// Direction keeps only the frames of one direction ("dir=in", "dir=out");
	// DirectionUnknown keeps both ("dir=both", the default).
	Direction capture.Direction
	// Shard of Shards keeps the flows whose hash falls into one of several
	// parts ("shard=0/4"): 0 ≤ Shard < Shards. Shards 0 keeps all.
	Shard, Shards int
	// Flows keeps one flow in so many ("flows=1/10"); 0 keeps all.
	Flows int
	// Cutoff is how many bytes of each flow and direction are delivered;
	// beyond, frames come with their headers only ("cutoff=64k"). 0 is no end.
	Cutoff int64
	// Dedup is for how long a packet that has been seen is not delivered again
	// ("dedup=10ms"), from whichever interface. 0 delivers all.
	Dedup time.Duration
	// LinkType chooses between the cooked headers, where frames have one
	// ("link=sll", "link=sll2"); 0 is the device's default.
	LinkType capture.LinkType
	// IncludeSelf keeps the daemon's own data connections ("self=include");
	// they are left out by default ("self=exclude").
	IncludeSelf bool
	// Filter is a filter expression that frames must satisfy beside the
	// client's filter ("filter=tcp+port+80"). It is not parsed here.
	Filter string
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
			return Device{}, fmt.Errorf("%q: unknown parameter %q; valid are %s", name, key, deviceKeyNames())
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

// HasParameters reports whether the name asks for more than the device.
func (d Device) HasParameters() bool { return d != Device{Name: d.Name} }

// String returns the shortest text that parses to d.
func (d Device) String() string {
	s, sep := d.Name, "?"
	for _, k := range deviceKeys {
		if v := k.get(&d); v != "" {
			s += sep + k.name + "=" + valueEscaper.Replace(v)
			sep = "&"
		}
	}
	return s
}

// valueEscaper escapes what means something else in a value, and blanks, which
// would end a URL in a text.
var valueEscaper = strings.NewReplacer("%", "%25", "&", "%26", "+", "%2B", " ", "+")
