//! Fuzz targets as plain functions, with a kept corpus
