// Not holdfast: a header without a layer, which check_layers.cmake must object to.
