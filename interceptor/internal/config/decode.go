package config

import (
	"capstan/pkg/smallfile"
	"capstan/pkg/strictyaml"
)

// Load reads a file that may set options. The error tells everything that is
// wrong, each with file, line and key.
func Load(file string, options []Option) (*File, error) {
	text, err := smallfile.Read(file, strictyaml.MaxLen)
	if err != nil {
		return nil, err
	}
	return Parse(file, text, options)
}

// Parse reads the text of a file, which is called file in errors.
func Parse(file string, text []byte, options []Option) (*File, error) {
	r, root, err := strictyaml.Parse(file, text)
	if err != nil {
		return nil, err
	}
	f := &File{name: file}
	if root != nil {
		read(r, root, f, options)
	}
	if r.Err() == nil {
		check(r, f)
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return f, nil
}

// read reads the keys of a file: its own, and options.
func read(r *strictyaml.Reader, n *strictyaml.Node, f *File, options []Option) {
	own := map[string]any{"body_types": &f.BodyTypes, "rules": &f.Rules, "sinks": &f.Sinks}
	names := []string{"body_types", "rules", "sinks"}
	known := map[string]Option{}
	for _, o := range options {
		known[o.Key] = o
		names = append(names, o.Key)
	}
	r.Mapping(n, "", func(key *strictyaml.Node, name string, value *strictyaml.Node) {
		if into, ok := own[key.Value]; ok {
			r.Decode(value, name, into)
		} else if o, ok := known[key.Value]; ok {
			readOption(r, key, value, f, o)
		} else {
			r.Unknown(key, name, names)
		}
	})
}

// readOption takes the values of an option as they are written.
func readOption(r *strictyaml.Reader, key, value *strictyaml.Node, f *File, o Option) {
	if strictyaml.IsNull(value) {
		return // keeps its default
	}
	s := Setting{Key: o.Key, Line: key.Line}
	if o.List {
		r.Decode(value, o.Key, &s.Values)
	} else {
		text, _ := r.Scalar(value, o.Key)
		s.Values = []string{text}
	}
	f.Settings = append(f.Settings, s)
}
