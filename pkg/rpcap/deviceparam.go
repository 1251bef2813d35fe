package rpcap

import (
	"path"
	"strconv"
	"strings"
	"time"

	"capstan/pkg/capture"
)

// deviceKey is one parameter of a device name.
type deviceKey struct {
	name   string
	values string // for the error text
	set    func(d *Device, value string) bool
	get    func(d *Device) string // "" if it has the default
}

// deviceKeys is the grammar; error texts and String follow its order.
var deviceKeys = []deviceKey{
	{"if", "interface names or patterns with commas between",
		func(d *Device, v string) bool { return setPatterns(&d.If, v) }, func(d *Device) string { return d.If }},
	{"not-if", "interface names or patterns with commas between",
		func(d *Device, v string) bool { return setPatterns(&d.NotIf, v) }, func(d *Device) string { return d.NotIf }},
	{"dir", "in, out or both", setDirection, getDirection},
	{"shard", "I/N, 0 ≤ I < N ≤ 256", setShard, getShard},
	{"flows", "1/N, N ≤ 65536", setFlows, getFlows},
	{"cutoff", "bytes, such as 4096, 64k or 10M", setCutoff, getCutoff},
	{"dedup", "a time up to 10s, such as 500us or 10ms", setDedup, getDedup},
	{"link", "sll or sll2", setLink, getLink},
	{"self", "exclude or include", setSelf, getSelf},
	{"filter", "a filter expression", setFilter, func(d *Device) string { return d.Filter }},
}

// The bounds of parameters.
const (
	maxShards  = 256
	maxFlows   = 65536
	maxCutoff  = 1 << 40
	maxDedup   = 10 * time.Second
	maxPattern = 1024 // bytes of all patterns of one parameter
)

func findDeviceKey(name string) *deviceKey {
	for i := range deviceKeys {
		if deviceKeys[i].name == name {
			return &deviceKeys[i]
		}
	}
	return nil
}

// deviceKeyNames lists the parameters by name alone: the text of an ERROR has
// no room for their values.
func deviceKeyNames() string {
	names := make([]string, 0, len(deviceKeys))
	for _, k := range deviceKeys {
		names = append(names, k.name)
	}
	return strings.Join(names, ", ")
}

func setPatterns(to *string, value string) bool {
	if len(value) > maxPattern {
		return false
	}
	for p := range strings.SplitSeq(value, ",") {
		if _, err := path.Match(p, ""); err != nil || p == "" || strings.ContainsAny(p, "/\x00") {
			return false
		}
	}
	*to = value
	return true
}

// MatchInterface reports whether frames of the interface with this name are
// asked for.
func (d *Device) MatchInterface(name string) bool {
	return (d.If == "" || matchAny(d.If, name)) && (d.NotIf == "" || !matchAny(d.NotIf, name))
}

func matchAny(patterns, name string) bool {
	for p := range strings.SplitSeq(patterns, ",") {
		if ok, _ := path.Match(p, name); ok { // a bad pattern was refused by setPatterns
			return true
		}
	}
	return false
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

func getDirection(d *Device) string {
	if d.Direction == capture.DirectionUnknown {
		return ""
	}
	return d.Direction.String()
}

func setShard(d *Device, value string) bool {
	i, n, ok := parseFraction(value, maxShards)
	if !ok || i >= n {
		return false
	}
	d.Shard, d.Shards = i, n
	if n == 1 {
		d.Shard, d.Shards = 0, 0
	}
	return true
}

func getShard(d *Device) string {
	if d.Shards == 0 {
		return ""
	}
	return strconv.Itoa(d.Shard) + "/" + strconv.Itoa(d.Shards)
}

func setFlows(d *Device, value string) bool {
	i, n, ok := parseFraction(value, maxFlows)
	if !ok || i != 1 {
		return false
	}
	if d.Flows = n; n == 1 {
		d.Flows = 0
	}
	return true
}

func getFlows(d *Device) string {
	if d.Flows == 0 {
		return ""
	}
	return "1/" + strconv.Itoa(d.Flows)
}

// parseFraction parses I/N with I ≤ N and 1 ≤ N ≤ limit.
func parseFraction(value string, limit int) (i, n int, ok bool) {
	a, b, found := strings.Cut(value, "/")
	first, err1 := strconv.ParseUint(a, 10, 31)
	second, err2 := strconv.ParseUint(b, 10, 31)
	if !found || err1 != nil || err2 != nil || second == 0 || second > uint64(limit) || first > second {
		return 0, 0, false
	}
	return int(first), int(second), true
}

// cutoffUnits are the suffixes of cutoff, largest first.
var cutoffUnits = []struct {
	suffix string
	bytes  int64
}{{"G", 1 << 30}, {"M", 1 << 20}, {"k", 1 << 10}, {"", 1}}

func setCutoff(d *Device, value string) bool {
	unit := int64(1)
	for _, u := range cutoffUnits {
		if before, ok := strings.CutSuffix(value, u.suffix); ok {
			value, unit = before, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || n == 0 || n > maxCutoff || int64(n) > maxCutoff/unit {
		return false
	}
	d.Cutoff = int64(n) * unit
	return true
}

func getCutoff(d *Device) string {
	if d.Cutoff == 0 {
		return ""
	}
	for _, u := range cutoffUnits {
		if d.Cutoff%u.bytes == 0 {
			return strconv.FormatInt(d.Cutoff/u.bytes, 10) + u.suffix
		}
	}
	return ""
}

// dedupUnits are the units of dedup, largest first; of those that end alike
// the longer name must come first.
var dedupUnits = []struct {
	suffix string
	unit   time.Duration
}{{"us", time.Microsecond}, {"ms", time.Millisecond}, {"s", time.Second}}

func setDedup(d *Device, value string) bool {
	for _, u := range dedupUnits {
		number, ok := strings.CutSuffix(value, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n > uint64(maxDedup/u.unit) {
			return false
		}
		d.Dedup = time.Duration(n) * u.unit
		return true
	}
	return false
}

func getDedup(d *Device) string {
	if d.Dedup == 0 {
		return ""
	}
	for i := len(dedupUnits) - 1; i > 0; i-- {
		if u := dedupUnits[i]; d.Dedup%u.unit == 0 {
			return strconv.FormatInt(int64(d.Dedup/u.unit), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(d.Dedup/time.Microsecond), 10) + "us"
}

func setLink(d *Device, value string) bool {
	switch value {
	case "sll":
		d.LinkType = capture.LinkTypeLinuxSLL
	case "sll2":
		d.LinkType = capture.LinkTypeLinuxSLL2
	default:
		return false
	}
	return true
}

func getLink(d *Device) string {
	switch d.LinkType {
	case capture.LinkTypeLinuxSLL:
		return "sll"
	case capture.LinkTypeLinuxSLL2:
		return "sll2"
	}
	return ""
}

func setSelf(d *Device, value string) bool {
	d.IncludeSelf = value == "include"
	return d.IncludeSelf || value == "exclude"
}

func getSelf(d *Device) string {
	if d.IncludeSelf {
		return "include"
	}
	return ""
}

func setFilter(d *Device, value string) bool {
	d.Filter = value
	return !strings.ContainsRune(value, 0)
}
