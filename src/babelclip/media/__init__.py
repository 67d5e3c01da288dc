"""Files to pixels and metadata: images, RAW, video, archives, folders."""
