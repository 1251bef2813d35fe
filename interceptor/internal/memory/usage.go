package memory

import "runtime/metrics"

// usage is what the runtime has from the system, in bytes.
type usage struct {
	collections uint64 // that there were
	live        uint64 // in use, as the last of them found
	objects     uint64 // in use, and garbage
	free        uint64 // that objects may take
	all         uint64 // that the process has
	besides     uint64 // for other than objects, and what is free
}

// The metrics asked for.
const (
	liveMetric     = "/gc/heap/live:bytes"
	cyclesMetric   = "/gc/cycles/total:gc-cycles"
	objectsMetric  = "/memory/classes/heap/objects:bytes"
	unusedMetric   = "/memory/classes/heap/unused:bytes"
	freeMetric     = "/memory/classes/heap/free:bytes"
	releasedMetric = "/memory/classes/heap/released:bytes"
	totalMetric    = "/memory/classes/total:bytes"
)

func newSamples() []metrics.Sample {
	return []metrics.Sample{{Name: liveMetric}, {Name: cyclesMetric}, {Name: objectsMetric},
		{Name: totalMetric}, {Name: unusedMetric}, {Name: freeMetric}, {Name: releasedMetric}}
}

// look looks at the memory in use.
func (b *Budget) look() {
	metrics.Read(b.samples)
	value := func(i int) uint64 { return b.samples[i].Value.Uint64() }
	b.usage = usage{live: value(0), collections: value(1), objects: value(2), free: value(5), all: value(3) - value(6)}
	b.usage.besides = b.usage.all - b.usage.objects - value(4) - b.usage.free
}

// isNear reports whether the process has nearly as much as most.
func (u *usage) isNear(most uint64) bool { return u.all > most/100*nearMark }

// InUse returns the bytes that the last collection found in use.
func InUse() uint64 {
	s := []metrics.Sample{{Name: liveMetric}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
