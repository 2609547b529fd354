# What is installed, and how find_package and pkg-config find it.
include(GNUInstallDirs)
