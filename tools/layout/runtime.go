package main

import (
	"debug/dwarf"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// runtimeLayout returns the offsets in a program for p that is built with a release.
func runtimeLayout(release string, p platform) (layout, error) {
	dir, err := os.MkdirTemp("", "layout")
	if err != nil {
		return layout{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program, err := buildProgram(dir, release, p)
	if err != nil {
		return layout{}, err
	}
	data, err := openDWARF(program, p)
	if err != nil {
		return layout{}, err
	}
	return layoutIn(data)
}

// buildProgram builds a program in dir and returns its path.
func buildProgram(dir, release string, p platform) (string, error) {
	for name, text := range map[string]string{
		"go.mod":  "module layout\n\ngo 1.24\n",
		"main.go": "package main\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	current, err := currentRelease()
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "program")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+p.goos, "GOARCH="+p.goarch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if release != current {
		cmd.Env = append(cmd.Env, "GOTOOLCHAIN="+release)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
}

// openDWARF returns the debugging information of a program for p.
func openDWARF(program string, p platform) (*dwarf.Data, error) {
	var file interface {
		DWARF() (*dwarf.Data, error)
		Close() error
	}
	var err error
	switch p.goos {
	case "darwin":
		file, err = macho.Open(program)
	case "windows":
		file, err = pe.Open(program)
	default:
		file, err = elf.Open(program)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return file.DWARF()
}

// layoutIn returns the offsets that debugging information has.
func layoutIn(data *dwarf.Data) (found layout, err error) {
	structs := make(map[string]*dwarf.StructType)
	for r := data.Reader(); ; {
		entry, err := r.Next()
		if err != nil {
			return found, err
		}
		if entry == nil {
			break
		}
		name, _ := entry.Val(dwarf.AttrName).(string)
		if entry.Tag != dwarf.TagStructType || !strings.HasPrefix(name, "runtime.") {
			continue
		}
		switch short := strings.TrimPrefix(name, "runtime."); short {
		case "m", "p", "g":
			typ, err := data.Type(entry.Offset)
			if err != nil {
				return found, err
			}
			st, ok := typ.(*dwarf.StructType)
			if !ok {
				return found, fmt.Errorf("%s is no struct", name)
			}
			structs[short] = st
		}
	}
	for i, field := range fields {
		path := strings.Split(field, ".")
		if found[i], err = offsetIn(structs[path[0]], path[1:]); err != nil {
			return found, fmt.Errorf("runtime.%s: %w", field, err)
		}
	}
	return found, nil
}

// offsetIn returns the offset of a field of st, or of a field of a field.
func offsetIn(st *dwarf.StructType, path []string) (int64, error) {
	if st == nil {
		return 0, errors.New("there is no such struct")
	}
	for _, f := range st.Field {
		if f.Name != path[0] {
			continue
		}
		if len(path) == 1 {
			return f.ByteOffset, nil
		}
		typ := f.Type
		for {
			def, ok := typ.(*dwarf.TypedefType)
			if !ok {
				break
			}
			typ = def.Type
		}
		inner, _ := typ.(*dwarf.StructType)
		offset, err := offsetIn(inner, path[1:])
		return f.ByteOffset + offset, err
	}
	return 0, errors.New("there is no such field")
}
