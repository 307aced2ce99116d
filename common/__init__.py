"""What every other folder may use: errors, paths, files. Standard library only; imports nothing of ours."""
