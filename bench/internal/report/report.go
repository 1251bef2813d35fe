//go:build linux

// Package report holds the results of "bench server" and shows them: as JSON,
// text, Markdown, in the format of Go benchmarks, and as a section of README.
//
// Everything shown is computed from the runs in the JSON.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"capstan/bench/internal/contain"
	"capstan/bench/internal/environment"
	"capstan/bench/internal/server"
	"capstan/bench/internal/sink"
	"capstan/bench/internal/traffic"
	"capstan/bench/internal/trial"
)

// Schema is the version of [Report]'s JSON.
const Schema = 1

// Report is what a session of measurements found.
type Report struct {
	Schema      int                     `json:"schema"`
	Begun       time.Time               `json:"begun"`
	Elapsed     time.Duration           `json:"elapsed_ns"`
	Command     string                  `json:"command"` // that repeats it
	Environment environment.Environment `json:"environment"`
	Settings    Settings                `json:"settings"`
	Servers     []Server                `json:"servers"`
	Loads       []Load                  `json:"loads"`
	Searches    []Search                `json:"searches"`
	Lone        []Lone                  `json:"lone"`
	// Repeated counts trials that were made again since other processes kept
	// the host busy.
	Repeated int `json:"repeated"`
	// Missing says what was not measured, and why.
	Missing []string `json:"missing,omitempty"`
}

// Settings is how it was measured.
type Settings struct {
	Runs          int           `json:"runs"`
	Duration      time.Duration `json:"duration_ns"` // of the traffic of a run
	Kind          traffic.Kind  `json:"kind,omitempty"`
	VLAN          []uint16      `json:"vlan,omitempty"`
	Flows         int           `json:"flows"`
	ReadTimeout   time.Duration `json:"read_timeout_ns"`
	ServerCPUs    contain.CPUs  `json:"server_cpus"` // shared with the sink
	GeneratorCPUs contain.CPUs  `json:"generator_cpus"`
}

// traffic describes the frames of all loads.
func (s *Settings) traffic() string {
	t := fmt.Sprintf("%d flows of %s", s.Flows, strings.ToUpper(s.Kind.String()))
	if len(s.VLAN) > 0 {
		t += fmt.Sprintf(" with the 802.1Q tags %v in turn", s.VLAN)
	}
	return t
}

// processors says who ran where.
func (s *Settings) processors() string {
	if len(s.GeneratorCPUs) == 0 {
		return "Generator, server and sink on all processors."
	}
	return fmt.Sprintf("Generator on processor %v, server and sink together on %v.", s.GeneratorCPUs, s.ServerCPUs)
}

// Server is one that was measured.
type Server struct {
	server.Spec
	Version string `json:"version"`
}

// Series is the runs of one server under one load, oldest first.
type Series struct {
	Server string         `json:"server"`
	Runs   []trial.Result `json:"runs"`
	// Syscalls is a run of its own in which system calls were counted.
	Syscalls *trial.Result `json:"syscalls,omitempty"`
}

// Load is one load and what came out under it.
type Load struct {
	trial.Load
	Servers []Series `json:"servers"`
	// Drain is the limit of receiving: a ring drained without sending.
	Drain Series `json:"drain"`
	// Feeds are the limits of sending: the same bytes sent without capturing,
	// by transport.
	Feeds map[server.Transport]Series `json:"feeds"`
}

// Search is the search for a server's highest rate without loss.
type Search struct {
	Server string       `json:"server"`
	Size   traffic.Size `json:"size"`
	Steps  []Step       `json:"steps"`
}

// Step is one step of a search.
type Step struct {
	Rate float64 `json:"rate"` // frames per second that were really offered
	Lost int64   `json:"lost"` // frames, damaged ones too; 0 if one of two trials lost none
	// FlatOut says that this is the highest rate that the generator makes.
	FlatOut bool `json:"flat_out,omitempty"`
}

// Best returns the highest rate without loss below every rate with loss, and
// whether the generator could not make a higher one. 0 means that there is none.
func (s *Search) Best() (rate float64, limited bool) {
	lossy := s.Lossy()
	for _, step := range s.Steps {
		if step.Lost == 0 && step.Rate > rate && step.Rate < lossy {
			rate, limited = step.Rate, step.FlatOut
		}
	}
	return rate, limited
}

// Lossy returns the lowest rate at which frames were lost; infinity if there is
// none.
func (s *Search) Lossy() float64 {
	lowest := math.Inf(1)
	for _, step := range s.Steps {
		if step.Lost != 0 {
			lowest = min(lowest, step.Rate)
		}
	}
	return lowest
}

// Highest returns the rate that the generator made flat out.
func (s *Search) Highest() float64 {
	for _, step := range s.Steps {
		if step.FlatOut {
			return step.Rate
		}
	}
	return 0
}

// Lone is the latency of frames that come one at a time.
type Lone struct {
	Server string         `json:"server"`
	Runs   []sink.Latency `json:"runs"`
}

// LoadFile reads a report from its JSON.
func LoadFile(path string) (*Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("%s: schema %d, this bench reads %d", path, r.Schema, Schema)
	}
	return &r, nil
}

// WriteJSON writes the report as [LoadFile] reads it.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(r)
}

// Format is a way to show a report.
type Format string

// The formats.
const (
	Text      Format = "text"
	Markdown  Format = "markdown"
	JSON      Format = "json"
	Benchstat Format = "benchstat"
)

var formats = []Format{Text, Markdown, JSON, Benchstat}

// Validate returns nil if there is such a format.
func (f Format) Validate() error {
	if !slices.Contains(formats, f) {
		return fmt.Errorf("format %q is none of %v", f, formats)
	}
	return nil
}

// Write shows the report.
func (r *Report) Write(w io.Writer, f Format) error {
	switch f {
	case Text:
		return r.writeTables(w, textStyle{})
	case Markdown:
		return r.writeTables(w, markdownStyle{})
	case JSON:
		return r.WriteJSON(w)
	case Benchstat:
		return r.writeBenchmarks(w)
	}
	return f.Validate()
}
