"""Word images: LMDBs, labels, transforms, augmentation, benchmarks, and the rendered micro world."""
