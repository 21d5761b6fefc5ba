"""What `doprestore image` needs: from a command line to jobs, and from a job to files."""
