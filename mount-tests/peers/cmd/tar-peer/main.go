//go:build go1.25

// Tar-peer extracts each archive ARCHIVE into ARCHIVE.go with Go's own reader
// of tars, member by member, as far as the reader goes. The tests compare
// names and bytes alone, so modes, owners and times are left out.
package main

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

func main() {
	for _, archive := range os.Args[1:] {
		if err := extract(archive); err != nil {
			fmt.Fprintln(os.Stderr, "tar-peer:", err)
			os.Exit(1)
		}
	}
}

// extract fails only where the place to extract to cannot be had: what the
// reader refuses is seen in what is missing.
func extract(archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	target := archive + ".go"
	if err := os.Mkdir(target, 0o777); err != nil {
		return err
	}
	root, err := os.OpenRoot(target)
	if err != nil {
		return err
	}
	defer root.Close()
	reader := tar.NewReader(file)
	for {
		header, err := reader.Next()
		if err != nil {
			return nil
		}
		if err := place(root, header, reader); err != nil {
			fmt.Fprintln(os.Stderr, "tar-peer:", archive, err)
		}
	}
}

// place makes one member below root. A later member replaces an earlier one.
func place(root *os.Root, header *tar.Header, content io.Reader) error {
	name := inside(header.Name)
	if err := root.MkdirAll(path.Dir(name), 0o777); err != nil {
		return err
	}
	if header.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o777)
	}
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return write(root, name, content)
	case tar.TypeSymlink:
		clear(root, name)
		return root.Symlink(header.Linkname, name)
	case tar.TypeLink:
		if existing := inside(header.Linkname); existing != name {
			clear(root, name)
			return root.Link(existing, name)
		}
	}
	return nil
}

func write(root *os.Root, name string, content io.Reader) error {
	clear(root, name)
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, content); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// clear removes what has the name; a folder that holds something stays.
func clear(root *os.Root, name string) { _ = root.Remove(name) }

// inside returns a name as it is below the target: "/a" and "../a" are "a".
func inside(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}
