package journal

// syncDir does nothing: Windows has no sync of folders, and NTFS journals its
// renames.
func syncDir(string) error { return nil }
