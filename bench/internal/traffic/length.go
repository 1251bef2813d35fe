package traffic

import (
	"errors"
	"fmt"
	"io"
	"os"

	"capstan/pkg/capfile"
	"capstan/pkg/capture"
)

// maxLengths bounds the lengths taken from a capture file; it starts over after
// so many frames.
const maxLengths = 1 << 20

// frameLengths returns the lengths that test frames take in turn. Lengths that
// IMIX or a file give are raised to the least that the kind needs; those of a
// file beyond a full frame, which segmentation offload leaves in captures, are
// brought down to it.
func frameLengths(p *Plan) ([]int, error) {
	least := minTestFrameLen(p.Kind, p.IPv6)
	switch {
	case p.Size.imix:
		lengths := []int{60, 60, 60, 60, 60, 60, 60, 590, 590, 590, 590, 1514}
		for i := len(lengths) - 1; i > 0; i-- { // Fisher–Yates
			j := int(mix(p.Seed+uint64(i)) % uint64(i+1))
			lengths[i], lengths[j] = lengths[j], lengths[i]
		}
		for i := range lengths {
			lengths[i] = max(lengths[i], least)
		}
		return lengths, nil
	case p.Size.file != "":
		return fileLengths(p.Size.file, least)
	}
	return []int{p.Size.fixed}, nil
}

// MeanLen returns the mean length of a plan's test frames, with their tags.
func MeanLen(p Plan) (int, error) {
	p = p.withDefaults()
	if err := p.validate(); err != nil {
		return 0, err
	}
	lengths, err := frameLengths(&p)
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, n := range lengths {
		sum += n
	}
	mean := sum / len(lengths)
	if len(p.VLAN) > 0 {
		mean += tagLen
	}
	return mean, nil
}

func fileLengths(path string, least int) ([]int, error) {
	var lengths []int
	err := readFrames(path, func(f *capture.Frame) (more bool, err error) {
		lengths = append(lengths, min(max(f.Len, least), fullFrameLen))
		return len(lengths) < maxLengths, nil
	})
	if err == nil && len(lengths) == 0 {
		err = fmt.Errorf("traffic: %s holds no frames", path)
	}
	return lengths, err
}

// readFrames calls f with the frames of a capture file until it says no.
func readFrames(path string, f func(*capture.Frame) (more bool, err error)) error {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	defer in.Close()
	r, err := capfile.NewReader(in)
	for n, more := 1, true; err == nil && more; n++ {
		var frame capture.Frame
		if err = r.Next(&frame); err != nil {
			break
		}
		if more, err = f(&frame); err != nil {
			err = fmt.Errorf("frame %d: %w", n, err)
		}
	}
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("traffic: %s: %w", path, err)
}
